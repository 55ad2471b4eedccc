// gru/steps: see values/recurrent_any.h.
#include "values/recurrent_any.h"

namespace pw {
namespace PW_COLLECT {
void collect(Collector& c) { c.add<RecurrentAny>("gru"); }
}  // namespace PW_COLLECT
}  // namespace pw
