// gru/packed: see products/recurrent.h.
#include "products/recurrent.h"

namespace pw {
namespace PW_COLLECT {
void collect(Collector& c) { c.add<RecurrentRoutine>("gru"); }
}  // namespace PW_COLLECT
}  // namespace pw
