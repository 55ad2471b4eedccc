// conv2/naive: the definition, in plain loops.
#include "routines/conv2/naive.h"

namespace pw {
namespace PW_COLLECT {
void collect(Collector& c) { c.add<NaiveConvolution>("conv2"); }
}  // namespace PW_COLLECT
}  // namespace pw
