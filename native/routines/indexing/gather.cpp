// gather: slices of any element type at indices along an axis.
#include <cstring>

#include "values/strided.h"

namespace pw {
namespace {

template <class Index>
class GatherKernel : public AnyKernel {
 public:
  GatherKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), axis_(static_cast<int>(p.integer("axis"))), bytes_(size_of(p.out[0].dtype)) {
    if (axis_ < 0) axis_ += static_cast<int>(p.in[0].shape.size());
  }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), indices = operands_.in(1, c);
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < axis_; ++i) outer *= x.size[i];
    for (int i = axis_ + 1; i < x.rank; ++i) inner *= x.size[i];
    const int64_t length = x.size[axis_], count = indices.count();
    return with_bytes(bytes_, [&](auto unit) {
      using T = decltype(unit);
      return gather(x.as<T>(), indices.as<Index>(), static_cast<T*>(c.out[0]), outer, length, count, inner, c.team);
    });
  }

 private:
  template <class T>
  static int gather(const T* x, const Index* indices, T* y, int64_t outer, int64_t length, int64_t count, int64_t inner,
                    Team& team) noexcept {
    bool outside = false;
    const int64_t rows = outer * count;
    in_pieces(team, rows, std::max<int64_t>(1, 1024 / std::max<int64_t>(1, inner)), rows * inner, [&](int64_t first, int64_t last) {
      int64_t o = count ? first / count : 0, k = first - o * count;
      for (int64_t r = first; r < last; ++r) {
        int64_t i = indices[k];
        i += i < 0 ? length : 0;
        if (i < 0 || i >= length) outside = true;
        else if (inner == 1) y[r] = x[o * length + i];
        else std::memcpy(y + r * inner, x + (o * length + i) * inner, static_cast<size_t>(inner) * sizeof(T));
        if (++k == count) k = 0, ++o;
      }
    });
    return outside ? kOutside : 0;
  }

  int axis_;
  size_t bytes_;
};

class Slices : public AnyRoutine {
 public:
  Slices() : AnyRoutine("gather", "slices") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 2) return Verdict::no("it takes a value and indices");
    if (p.in[1].dtype != DType::i32 && p.in[1].dtype != DType::i64) return Verdict::no("the indices are neither i32 nor i64");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    if (p.in[1].dtype == DType::i32) return std::make_unique<GatherKernel<int32_t>>(p, constants);
    return std::make_unique<GatherKernel<int64_t>>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Slices>(); }
}  // namespace PW_COLLECT

}  // namespace pw
