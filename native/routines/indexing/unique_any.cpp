// unique: elements or slices of any element type that differ, with indices and counts, by one thread. NaN is equal to itself
// and comes behind all other numbers.
#include <cstring>

#include "values/found.h"
#include "routines/indexing/lines.h"

namespace pw {
namespace {

template <class V>
bool less(V a, V b) noexcept { return a < b || (a == a && b != b); }
template <class V>
bool same(V a, V b) noexcept { return a == b || (a != a && b != b); }

template <class V>
struct Entry {
  V value;
  int64_t index;
};

class UniqueKernel : public AnyKernel {
 public:
  explicit UniqueKernel(const Problem& p)
      : AnyKernel(p, Constants(p.in.size()), Layout::nchw), flat_(p.integers("axis").empty()),
        axis_(flat_ ? 0 : axis_from_front(p)), sorted_(p.integer("sorted") != 0), dtype_(p.in[0].dtype) {
    most_ = flat_ ? p.in[0].count() : p.in[0].shape[static_cast<size_t>(axis_)];
  }
  // An entry each, which group it is of; of each group the first one, how many, and its number in the output.
  size_t workspace_bytes() const override { return static_cast<size_t>(most_) * (16 + 4 * 8); }
  int run(const Context& c) noexcept override {
    int code = 0;
    c.team.each(1, 1, [&](int64_t, int64_t) {
      with_type(dtype_, [&](auto tag) { code = find<typename decltype(tag)::type>(c); });
    });
    return code;
  }

 private:
  template <class T>
  int find(const Context& c) const noexcept {
    using V = decltype(compared(T{}));
    const Operand x = operands_.in(0, c);
    int64_t outer = 1, n = 1, inner = 1;
    for (int i = 0; i < x.rank; ++i) (flat_ ? n : i < axis_ ? outer : i == axis_ ? n : inner) *= x.size[i];
    const T* from = x.as<T>();
    auto* entries = static_cast<Entry<V>*>(c.workspace);
    auto* group = reinterpret_cast<int64_t*>(entries + most_);
    int64_t *first = group + most_, *count = first + most_, *number = count + most_;
    static_assert(sizeof(Entry<V>) == 16);
    const auto element = [&](int64_t o, int64_t k, int64_t i) { return compared(from[(o * n + k) * inner + i]); };
    // -1, 0, 1: how two slices lie to each other.
    const auto order = [&](int64_t a, int64_t b) {
      for (int64_t o = 0; o < outer; ++o)
        for (int64_t i = 0; i < inner; ++i) {
          const V u = element(o, a, i), v = element(o, b, i);
          if (!same(u, v)) return less(u, v) ? -1 : 1;
        }
      return 0;
    };
    const bool elements = outer * inner == 1;
    for (int64_t i = 0; i < n; ++i) entries[i] = {elements ? V{compared(from[i])} : V{}, i};
    if (elements)
      std::sort(entries, entries + n, [](const Entry<V>& a, const Entry<V>& b) {
        return less(a.value, b.value) || (same(a.value, b.value) && a.index < b.index);
      });
    else
      std::sort(entries, entries + n, [&](const Entry<V>& a, const Entry<V>& b) {
        const int way = order(a.index, b.index);
        return way < 0 || (way == 0 && a.index < b.index);
      });
    int64_t groups = 0;
    for (int64_t i = 0; i < n; ++i) {
      const bool begins = i == 0 || (elements ? !same(entries[i].value, entries[i - 1].value)
                                              : order(entries[i].index, entries[i - 1].index) != 0);
      if (begins) first[groups] = entries[i].index, count[groups] = 0, number[groups] = groups, ++groups;
      group[entries[i].index] = groups - 1;
      ++count[groups - 1];
    }
    if (!sorted_)
      for (int64_t i = 0, next = 0; i < n; ++i)
        if (first[group[i]] == i) number[group[i]] = next++;
    int64_t sizes[kMostRank];
    std::copy(x.size, x.size + x.rank, sizes);
    sizes[flat_ ? 0 : axis_] = groups;
    int code = 0;
    auto* y = static_cast<T*>(found_output(c, 0, sizes, flat_ ? 1 : x.rank, sizeof(T), code));
    const int64_t* lengths[] = {&groups, &n, &groups};
    int64_t* to[3] = {};
    for (uint32_t k = 0; code == 0 && k < operands_.outputs() - 1 && k < 3; ++k)
      to[k] = static_cast<int64_t*>(found_output(c, k + 1, lengths[k], 1, sizeof(int64_t), code));
    if (code) return code;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t k = number[g];
      for (int64_t o = 0; o < outer; ++o)
        std::memcpy(static_cast<void*>(y + (o * groups + k) * inner), from + (o * n + first[g]) * inner,
                    static_cast<size_t>(inner) * sizeof(T));
      if (to[0]) to[0][k] = first[g];
      if (to[2]) to[2][k] = count[g];
    }
    for (int64_t i = 0; to[1] && i < n; ++i) to[1][i] = number[group[i]];
    return 0;
  }

  bool flat_;
  int axis_;
  bool sorted_;
  DType dtype_;
  int64_t most_;
};

class Unique : public AnyRoutine {
 public:
  Unique() : AnyRoutine("unique", "sort") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<UniqueKernel>(p);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Unique>(); }
}  // namespace PW_COLLECT

}  // namespace pw
