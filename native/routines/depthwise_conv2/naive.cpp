// depthwise_conv2/naive: the loops of conv2/naive with as many groups as channels.
#include "products/naive_convolution.h"

namespace pw {
namespace PW_COLLECT {
void collect(Collector& c) { c.add<NaiveConvolution>("depthwise_conv2"); }
}  // namespace PW_COLLECT
}  // namespace pw
