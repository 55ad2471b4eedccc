// gather_elements and gather_nd: elements and slices of any element type at indices.
#include <cstring>

#include "values/strided.h"

namespace pw {
namespace {

// Pieces are parts of the output.
template <class Index>
class ElementsKernel : public AnyKernel {
 public:
  ElementsKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), axis_(static_cast<int>(p.integer("axis"))), bytes_(size_of(p.out[0].dtype)) {
    if (axis_ < 0) axis_ += static_cast<int>(p.in[0].shape.size());
  }
  int run(const Context& c) noexcept override {
    return with_bytes(bytes_, [&](auto unit) {
      return gather(operands_.in(0, c), operands_.in(1, c), static_cast<decltype(unit)*>(c.out[0]), c.team);
    });
  }

 private:
  template <class T>
  int gather(const Operand& x, const Operand& at, T* y, Team& team) const noexcept {
    int64_t own[kMostRank], step[kMostRank];
    steps_of(x, own);
    steps_of(at, step);
    Loops<2> outer, inner;  // over (indices, the value)
    for (int i = 0; i < axis_; ++i) outer.add(at.size[i], {step[i], own[i]});
    for (int i = axis_ + 1; i < at.rank; ++i) inner.add(at.size[i], {step[i], own[i]});
    const int64_t length = x.size[axis_], stride = own[axis_], count = at.size[axis_], columns = inner.total;
    const int64_t own_run = inner.count ? inner.loop[inner.count - 1].step[1] : 1;
    const auto* indices = at.as<Index>();
    const T* values = x.as<T>();
    bool outside = false;
    const auto read = [&](int64_t to, int64_t from) {
      int64_t i = indices[to];
      i += i < 0 ? length : 0;
      if (i < 0 || i >= length) outside = true;
      else y[to] = values[from + i * stride];
    };
    const int64_t all = outer.total * count * columns;
    in_pieces(team, all, 64, all, [&](int64_t first, int64_t last) {
      int64_t row = first / columns, c0 = first - row * columns;
      for (int64_t e = first; e < last; ++row, c0 = 0) {
        int64_t start[2];
        start_of(outer, row / count, start);
        if (columns == 1) {  // the whole of what is left along the axis
          const int64_t n = std::min(last - e, count - row % count);
          for (int64_t j = 0; j < n; ++j) read(e + j, start[1]);
          e += n, row += n - 1;
          continue;
        }
        const int64_t c1 = std::min(columns, c0 + last - e);
        const int64_t base = e - c0;  // inner loops lie densely in the indices
        walk(inner, c0, c1, [&](const int64_t* offset, int64_t n) {
          for (int64_t j = 0; j < n; ++j) read(base + offset[0] + j, start[1] + offset[1] + j * own_run);
        });
        e += c1 - c0;
      }
    });
    return outside ? kOutside : 0;
  }

  int axis_;
  size_t bytes_;
};

// Pieces are parts of the output, which may begin and end inside of a slice.
class VectorsKernel : public AnyKernel {
 public:
  VectorsKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), batch_(static_cast<int>(p.integer("batch"))), bytes_(size_of(p.out[0].dtype)) {}
  int run(const Context& c) noexcept override {
    return with_bytes(bytes_, [&](auto unit) {
      using T = decltype(unit);
      const Operand x = operands_.in(0, c), indices = operands_.in(1, c);
      return gather(x, x.as<T>(), indices, static_cast<T*>(c.out[0]), c.team);
    });
  }

 private:
  template <class T>
  int gather(const Operand& x, const T* values, const Operand& at, T* y, Team& team) const noexcept {
    int64_t step[kMostRank], batches = 1, slice = 1;
    const auto depth = static_cast<int>(at.size[at.rank - 1]);
    steps_of(x, step);
    for (int i = 0; i < batch_; ++i) batches *= x.size[i];
    for (int i = batch_ + depth; i < x.rank; ++i) slice *= x.size[i];
    const int64_t vectors = at.count() / std::max(1, depth), each = vectors / std::max<int64_t>(1, batches);
    const int64_t whole = batches ? x.count() / batches : 0;
    const auto* indices = at.as<int64_t>();
    bool outside = false;
    const int64_t all = vectors * slice;
    in_pieces(team, all, 64, all + 4 * vectors, [&](int64_t first, int64_t last) {
      int64_t v = first / slice, skip = first - v * slice;
      for (int64_t e = first; e < last; ++v, skip = 0) {
        int64_t place = v / each * whole;
        bool inside = true;
        for (int k = 0; k < depth; ++k) {
          int64_t i = indices[v * depth + k];
          const int64_t n = x.size[batch_ + k];
          i += i < 0 ? n : 0;
          inside = inside && i >= 0 && i < n;
          place += i * step[batch_ + k];
        }
        const int64_t n = std::min(slice - skip, last - e);
        if (!inside) outside = true;
        else if (n == 1) y[e] = values[place + skip];
        else std::memcpy(y + e, values + place + skip, static_cast<size_t>(n) * sizeof(T));
        e += n;
      }
    });
    return outside ? kOutside : 0;
  }

  int batch_;
  size_t bytes_;
};

class Places : public AnyRoutine {
 public:
  explicit Places(const std::string& layer) : AnyRoutine(layer, "places") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 2) return Verdict::no("it takes a value and indices");
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.in[1].dtype != DType::i32 && p.in[1].dtype != DType::i64) return Verdict::no("the indices are neither i32 nor i64");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    if (p.kind == "gather_nd") return std::make_unique<VectorsKernel>(p, constants);
    if (p.in[1].dtype == DType::i32) return std::make_unique<ElementsKernel<int32_t>>(p, constants);
    return std::make_unique<ElementsKernel<int64_t>>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"gather_elements", "gather_nd"}) c.add<Places>(layer);
}
}  // namespace PW_COLLECT

}  // namespace pw
