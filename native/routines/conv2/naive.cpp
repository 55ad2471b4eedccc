// conv2/naive: the definition, in plain loops.
#include "products/naive_convolution.h"

namespace pw {
namespace PW_COLLECT {
void collect(Collector& c) { c.add<NaiveConvolution>("conv2"); }
}  // namespace PW_COLLECT
}  // namespace pw
