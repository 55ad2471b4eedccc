// The inputs of a problem as `run` finds them: constants from `prepare`, values among the dynamic inputs.
#pragma once
#include <vector>

#include "spi/routine.h"

namespace pw {

class Operands {
 public:
  Operands(const Problem& p, const Constants& constants) {
    int next = 0;
    for (size_t i = 0; i < p.in.size(); ++i) {
      const Tensor& t = p.in[i];
      if (t.present && !t.constant) entries_.push_back({nullptr, next++});
      else entries_.push_back({t.present ? constants[i].data : nullptr, -1});
    }
  }
  // Input `i` of the problem; nullptr when it is absent.
  template <class T>
  const T* get(int i, const void* const* in) const {
    if (i < 0 || i >= static_cast<int>(entries_.size())) return nullptr;
    const Entry& e = entries_[static_cast<size_t>(i)];
    return static_cast<const T*>(e.dynamic >= 0 ? in[e.dynamic] : e.constant);
  }

  // Whether there is one.
  bool given(int i) const {
    const Entry* e = i >= 0 && i < static_cast<int>(entries_.size()) ? &entries_[static_cast<size_t>(i)] : nullptr;
    return e && (e->dynamic >= 0 || e->constant);
  }

  // Its sizes in a run: those of its problem where it is a constant.
  const int64_t* sizes(int i, const int64_t* const* in_sizes, const Dims& fixed) const {
    const Entry& e = entries_[static_cast<size_t>(i)];
    return e.dynamic >= 0 ? in_sizes[e.dynamic] : fixed.data();
  }

 private:
  struct Entry {
    const void* constant;  // the constant's own memory
    int dynamic;           // index among the dynamic inputs, -1 for a constant or an absent input
  };
  std::vector<Entry> entries_;
};

}  // namespace pw
