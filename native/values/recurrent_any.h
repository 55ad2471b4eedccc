// rnn, gru and lstm of any float type, written for clarity: a sequence of a direction is a piece of work, sums are made in
// double. For the files named *_any.cpp.
#pragma once
#include <cmath>
#include <memory>
#include <vector>

#include "values/numbers.h"
#include "values/recurrent.h"
#include "values/strided.h"

namespace pw {

inline double activated(const GateFunction& f, double clip, double x) {
  if (clip > 0 && x == x) x = std::clamp(x, -clip, clip);
  if (f.name == "tanh") return std::tanh(x);
  if (f.name == "sigmoid") return 1 / (1 + std::exp(-x));
  if (f.name == "relu") return x < 0 ? 0 : x;
  if (f.name == "affine") return f.alpha * x + f.beta;
  if (f.name == "leaky_relu") return x < 0 ? f.alpha * x : x;
  if (f.name == "thresholded_relu") return x < f.alpha ? 0 : x;
  if (f.name == "scaled_tanh") return f.alpha * std::tanh(f.beta * x);
  if (f.name == "hard_sigmoid") return x != x ? x : std::clamp(f.alpha * x + f.beta, 0.0, 1.0);
  if (f.name == "elu") return x < 0 ? f.alpha * std::expm1(x) : x;
  if (f.name == "softsign") return x / (1 + std::fabs(x));
  return x != x ? x : std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x)));  // softplus
}

template <class T>
class RecurrentAnyKernel : public AnyKernel {
 public:
  RecurrentAnyKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), r_(p), lengths_type_(p.has(kLengths) ? p.in[kLengths].dtype : DType::i32),
        outputs_(p.out.size()), threads_(p.threads), area_(((r_.gates + 4) * r_.hidden * 8 + 63) / 64 * 64) {
    for (size_t i = 0; i < 8; ++i) given_[i] = p.has(i);
    for (int i : p.dynamic()) dynamic_.push_back(i);
    for (size_t i : {kLengths, kH, kC}) fixed_ = fixed_ || (p.has(i) && p.in[i].constant);
  }

  size_t workspace_bytes() const override { return static_cast<size_t>(area_ * threads_); }
  // Steps and sequences.
  bool open(size_t port, size_t axis) const override {
    const size_t batch = r_.batch_first ? 0 : 1;
    if (port < dynamic_.size()) {
      const int input = dynamic_[port];
      if (input == kX) return axis == 1 - batch || (axis == batch && !fixed_);
      return !fixed_ && (input == kLengths || ((input == kH || input == kC) && axis == batch));
    }
    if (port > dynamic_.size()) return axis == batch && !fixed_;
    return axis == (r_.batch_first ? 1 : 0) || (axis == (r_.batch_first ? 0 : 2) && !fixed_);
  }

  int run(const Context& c) noexcept override {
    const RecurrentRun of(r_, c.in_sizes[0], data<void>(kLengths, c), lengths_type_);
    bool fits = true;
    c.team.each(r_.directions * of.batch, 1, [&](int64_t i, int64_t) {
      fits = fits && of.fits();
      sequence(c, of, i / of.batch, i % of.batch,
               reinterpret_cast<double*>(static_cast<char*>(c.workspace) + c.team.index * area_));
    });
    return fits ? 0 : kOutside;
  }

 private:
  enum Input { kX, kW, kR, kB, kLengths, kH, kC, kP };

  template <class V>
  const V* data(size_t i, const Context& c) const {
    return i < operands_.inputs() && given_[i] ? operands_.in(i, c).template as<V>() : nullptr;
  }

  // sums[row] += w[row] x
  template <class X>
  static void add(const T* w, const X* x, int64_t rows, int64_t depth, double* sums) noexcept {
    for (int64_t row = 0; row < rows; ++row, w += depth) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k) sum += static_cast<double>(w[k]) * static_cast<double>(x[k]);
      sums[row] += sum;
    }
  }

  void sequence(const Context& context, const RecurrentRun& of, int64_t d, int64_t b, double* area) const noexcept {
    const int64_t n = r_.hidden, rows = r_.rows(), length = of.length(b);
    const T *x = data<T>(kX, context), *w = data<T>(kW, context) + d * rows * r_.features;
    const T* r = data<T>(kR, context) + d * rows * n;
    const T *bias = data<T>(kB, context), *p = r_.cell == Cell::lstm ? data<T>(kP, context) : nullptr;
    double *sums = area, *h = sums + rows, *c = h + n, *more = c + n, *reset = more + n;
    const auto begin = [&](double* to, const T* from) {
      for (int64_t i = 0; i < n; ++i) to[i] = from ? static_cast<double>(from[r_.state_row(d, b, of.batch) + i]) : 0;
    };
    begin(h, data<T>(kH, context));
    begin(c, r_.cell == Cell::lstm ? data<T>(kC, context) : nullptr);
    if (bias) bias += d * 2 * rows;
    if (p) p += d * 3 * n;
    const GateFunction* f = &r_.functions[static_cast<size_t>(d * r_.per_direction())];
    T* y = static_cast<T*>(context.out[0]);
    for (int64_t s = 0; s < of.steps; ++s) {
      T* to = y + r_.y_row(of.time(s, length, r_.backward(d)), d, b, of.steps, of.batch);
      if (s >= length) {
        for (int64_t i = 0; i < n; ++i) to[i] = 0;
        continue;
      }
      for (int64_t i = 0; i < rows; ++i) {
        // In a linear GRU the bias of h in the last gate belongs to the sum that is multiplied.
        const bool apart = r_.cell == Cell::gru && r_.linear && i >= 2 * n;
        sums[i] = bias ? static_cast<double>(bias[i]) + (apart ? 0 : static_cast<double>(bias[rows + i])) : 0;
      }
      add(w, x + r_.x_row(of.time(s, length, r_.backward(d)), b, of.steps, of.batch), rows, r_.features, sums);
      if (r_.cell == Cell::gru) gru(r, bias ? bias + rows : nullptr, f, sums, h, more, reset);
      else add(r, h, rows, n, sums);
      for (int64_t i = 0; i < n && r_.cell == Cell::rnn; ++i) h[i] = activated(f[0], r_.clip, sums[i]);
      for (int64_t i = 0; i < n && r_.cell == Cell::lstm; ++i) lstm(f, sums, p, i, h, c);
      for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(h[i]);
    }
    const double* states[2] = {h, c};
    for (size_t state = 0; state + 1 < outputs_; ++state) {
      T* last = static_cast<T*>(context.out[state + 1]) + r_.state_row(d, b, of.batch);
      for (int64_t i = 0; i < n; ++i) last[i] = length > 0 ? static_cast<T>(states[state][i]) : T{0};
    }
  }

  void gru(const T* r, const T* bias, const GateFunction* f, double* sums, double* h, double* more,
           double* reset) const noexcept {
    const int64_t n = r_.hidden;
    add(r, h, 2 * n, n, sums);
    for (int64_t i = 0; i < 2 * n; ++i) sums[i] = activated(f[0], r_.clip, sums[i]);
    for (int64_t i = 0; i < n; ++i) {
      more[i] = r_.linear && bias ? static_cast<double>(bias[2 * n + i]) : 0;
      reset[i] = r_.linear ? h[i] : sums[n + i] * h[i];
    }
    add(r + 2 * n * n, reset, n, n, more);
    for (int64_t i = 0; i < n; ++i) {
      const double z = sums[i], sum = sums[2 * n + i] + (r_.linear ? sums[n + i] * more[i] : more[i]);
      h[i] = (1 - z) * activated(f[1], r_.clip, sum) + z * h[i];
    }
  }

  void lstm(const GateFunction* f, const double* sums, const T* p, int64_t i, double* h, double* c) const noexcept {
    const int64_t n = r_.hidden;
    const auto seen = [&](int64_t gate) { return p ? static_cast<double>(p[gate * n + i]) * c[i] : 0; };
    const double in = activated(f[0], r_.clip, sums[i] + seen(0));
    const double forget = r_.coupled ? 1 - in : activated(f[0], r_.clip, sums[2 * n + i] + seen(2));
    c[i] = forget * c[i] + in * activated(f[1], r_.clip, sums[3 * n + i]);
    h[i] = activated(f[0], r_.clip, sums[n + i] + seen(1)) * activated(f[2], r_.clip, c[i]);
  }

  Recurrence r_;
  DType lengths_type_;
  size_t outputs_;
  int64_t threads_, area_;  // bytes of a thread
  bool given_[8] = {}, fixed_ = false;
  std::vector<int> dynamic_;
};

class RecurrentAny : public AnyRoutine {
 public:
  explicit RecurrentAny(const std::string& layer) : AnyRoutine(layer, "steps") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.empty() || (p.in[0].dtype != DType::f32 && p.in[0].dtype != DType::f64))
      return Verdict::no("x is neither f32 nor f64");
    if (Verdict v = accepts_recurrent(p, p.in[0].dtype); !v) return v;
    if (p.in[2].shape[2] > (int64_t{1} << 24)) return Verdict::no("there are more than 2^24 hidden units");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    if (p.in[0].dtype == DType::f64) return std::make_unique<RecurrentAnyKernel<double>>(p, constants);
    return std::make_unique<RecurrentAnyKernel<float>>(p, constants);
  }
};

}  // namespace pw
