// y = x * scale + shift per channel: madd, and batch_norm, which is one.
#include <cmath>

#include "base/buffer.h"
#include "values/vector.h"

namespace pw {
namespace {

// The value as outer x rows x columns; scale and shift are indexed by row or by column, and start again after
// `period` outer indices.
struct Rows {
  int64_t outer = 1, rows = 1, columns = 1, period = 1, channels = 1;
  bool per_row = false;
  int64_t repeat = 1;  // copies of the channels in one row of columns
};

Rows rows_of(const Dims& shape, Layout layout, bool scalar) {
  Rows r;
  if (scalar) {
    r.columns = count(shape);
    r.per_row = true;
    return r;
  }
  int64_t inner = 1;
  for (size_t i = 2; i < shape.size(); ++i) inner *= shape[i];
  r.channels = shape[1];
  if (layout == Layout::nchw16c) {
    r = {shape[0] * shape[1] / 16, inner, 16, shape[1] / 16, shape[1], false, 1};
  } else if (layout == Layout::nhwc || inner == 1) {
    r.rows = shape[0] * inner;
    // Several pixels as one long row where they are short.
    while (r.channels * r.repeat < 64 && r.rows % 2 == 0) r.repeat *= 2, r.rows /= 2;
    r.columns = r.channels * r.repeat;
  } else {
    r.outer = shape[0];
    r.rows = shape[1];
    r.columns = inner;
    r.per_row = true;
  }
  return r;
}

template <class T>
class MaddKernel : public PieceKernel {
 public:
  MaddKernel(const MaddOf<T>& kernel, const Rows& rows, Buffer factors, const Problem& p)
      : kernel_(kernel), rows_(rows), factors_(std::move(factors)), post_(p), residual_(p.epilogue.add) {}
  size_t packed_bytes() const override { return factors_.bytes(); }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const T* x = static_cast<const T*>(in[0]);
    const T* residual = residual_ ? static_cast<const T*>(in[1]) : nullptr;
    T* y = static_cast<T*>(out[0]);
    const float* scale = factors_.as<float>();
    const float* shift = scale + rows_.channels * rows_.repeat;
    share_rows(team, rows_.outer, rows_.rows, rows_.columns,
               [&](int64_t o, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
                 const int64_t base = o * rows_.rows * rows_.columns;
                 const int64_t block = rows_.per_row ? 0 : o % rows_.period * rows_.columns;
                 const int64_t chunk = post_.nothing() ? INT64_MAX : PostOf<T>::kChunk;
                 const int64_t step = c1 - c0 == rows_.columns ? std::max<int64_t>(1, chunk / rows_.columns) : 1;
                 for (int64_t r = r0; r < r1; r += std::min(step, r1 - r))
                   for (int64_t c = c0; c < c1; c += std::min(chunk, c1 - c)) {
                     const int64_t at = base + r * rows_.columns + c, n_rows = std::min(step, r1 - r);
                     const int64_t factor = rows_.per_row ? r : block + c, n = std::min(chunk, c1 - c);
                     const MaddArgs<T> args{x + at, scale + factor, shift + factor, y + at, n_rows, n,
                                            rows_.per_row, post_.low(), post_.high()};
                     kernel_.run(&args);
                     if (!post_.nothing()) post_.apply(y + at, residual ? residual + at : nullptr, n_rows * n);
                   }
               });
  }

 private:
  const MaddOf<T>& kernel_;
  Rows rows_;
  Buffer factors_;
  PostOf<T> post_;
  bool residual_;
};

template <class T>
class Madd : public VectorRoutine {
 public:
  Madd(const std::string& layer, Layout layout)
      : VectorRoutine(layer, "channels", layout, stored_kind<T>(PW_KIND_MADD), true, kStored<T>) {}

  Verdict accepts(const Problem& p) const override {
    if (auto verdict = this->basics(p, p.out[0]); !verdict) return verdict;
    if (!p.in[0].present || p.in[0].constant || p.in[0].shape != p.out[0].shape)
      return Verdict::no("the first input is not a value of the output's shape");
    for (size_t i = 1; i < p.arity(); ++i) {
      if (!p.in[i].constant) return Verdict::no("scale and shift are not constants");
      if (!scalar(p.in[i]) && (p.in[0].shape.size() < 2 || p.in[i].shape != Dims{p.in[0].shape[1]}))
        return Verdict::no("scale and shift do not hold one number per channel");
    }
    return Verdict::ok();
  }

  Ports ports(const Problem& p) const override { return this->in_place(VectorRoutine::ports(p)); }

  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant,
                                  const Constants& constants) const override {
    bool all_scalar = true;
    for (size_t i = 1; i < p.arity(); ++i) all_scalar = all_scalar && scalar(p.in[i]);
    const Rows rows = rows_of(p.in[0].shape, this->layout_, all_scalar);
    const int64_t n = rows.channels * rows.repeat;
    Buffer factors(static_cast<size_t>(2 * n) * 4);
    float *scale = factors.as<float>(), *shift = scale + n;
    auto number = [&](size_t i, int64_t c) {
      return static_cast<double>(constants[i].as<float>()[scalar(p.in[i]) ? 0 : c]);
    };
    const bool norm = p.kind == "batch_norm";
    const double epsilon = norm ? p.number("epsilon") : 0.0;
    for (int64_t k = 0; k < n; ++k) {
      const int64_t c = k % rows.channels;
      double factor = number(1, c), term = number(2, c);
      if (norm) {
        factor /= std::sqrt(number(4, c) + epsilon);
        term -= number(3, c) * factor;
      }
      scale[k] = static_cast<float>(factor);
      shift[k] = static_cast<float>(term);
    }
    return std::make_unique<MaddKernel<T>>(variant_ukernel<MaddOf<T>>(this->kind_, variant), rows, std::move(factors), p);
  }

 private:
  static bool scalar(const Tensor& t) { return t.shape.empty(); }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"madd", "batch_norm"}) {
    for (Layout layout : kAllLayouts) c.add<Madd<float>>(layer, layout);
    for (Layout layout : kNarrowLayouts) for_each_half([&](auto half) { c.add<Madd<decltype(half)>>(layer, layout); });
  }
}
}  // namespace PW_COLLECT

}  // namespace pw
