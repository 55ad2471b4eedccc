// What argmax, hardmax, topk and unique share: numbers as they are compared, and a value as lines along an axis.
#pragma once
#include <algorithm>

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {

// What elements are compared as.
template <class T>
auto compared(T x) {
  if constexpr (kHalf<T>) return as_float(x);
  else if constexpr (std::is_same_v<T, Bool>) return static_cast<uint8_t>(x);
  else return x;
}

inline int axis_from_front(const Problem& p) {
  const int64_t axis = p.integer("axis");
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(p.in[0].shape.size()) : axis);
}

// A value as outer x length x inner.
struct Along {
  int64_t outer = 1, length, inner = 1;
  Along(const Operand& x, int axis) : length(x.size[axis]) {
    for (int i = 0; i < axis; ++i) outer *= x.size[i];
    for (int i = axis + 1; i < x.rank; ++i) inner *= x.size[i];
  }
};

}  // namespace pw
