// Functions of two elements with NumPy broadcasting.
#include <cstring>

#include "base/buffer.h"
#include "values/vector.h"

namespace pw {
namespace {

// Strides in elements along the physical dimensions of the output; 0 = broadcast.
using Strides = std::vector<int64_t>;

// Strides of an operand of the given logical shape. `layout`: how it lies in memory; row-major for a constant and for a
// value of a lower rank than the output, whatever the output's layout.
Strides operand_strides(const Dims& shape, Layout layout, const Dims& out, Layout out_layout) {
  const size_t rank = out.size();
  Dims padded(rank - shape.size(), 1);
  padded.insert(padded.end(), shape.begin(), shape.end());
  Strides logical(rank);
  int64_t channel_block = 0;  // between groups of 16 channels
  if (layout == Layout::nhwc) {
    logical = {padded[1] * padded[2] * padded[3], 1, padded[3] * padded[1], padded[1]};
  } else if (layout == Layout::nchw16c) {
    logical = {padded[1] * padded[2] * padded[3], 1, padded[3] * 16, 16};
    channel_block = padded[2] * padded[3] * 16;
  } else {
    int64_t step = 1;
    for (size_t i = rank; i-- > 0; step *= padded[i]) logical[i] = step;
  }
  if (layout != Layout::nchw16c && rank == 4) channel_block = 16 * logical[1];
  for (size_t i = 0; i < rank; ++i)
    if (padded[i] == 1) logical[i] = 0;
  if (rank == 4 && padded[1] == 1) channel_block = 0;
  if (out_layout == Layout::nhwc) return {logical[0], logical[2], logical[3], logical[1]};
  if (out_layout == Layout::nchw16c) return {logical[0], channel_block, logical[2], logical[3], logical[1]};
  return logical;
}

// A constant copied into the output's order, its broadcast dimensions left out; `strides` is brought up to date.
Buffer relay(const float* data, const Dims& dims, Strides& strides) {
  Strides dense(dims.size(), 0);
  int64_t total = 1;
  for (size_t i = dims.size(); i-- > 0;)
    if (strides[i] != 0) dense[i] = total, total *= dims[i];
  Buffer copy(static_cast<size_t>(total) * 4);
  std::vector<int64_t> at(dims.size(), 0);
  for (int64_t k = 0; k < total; ++k) {
    int64_t source = 0;
    for (size_t i = 0; i < dims.size(); ++i) source += at[i] * strides[i];
    copy.as<float>()[k] = data[source];
    for (size_t i = dims.size(); i-- > 0;) {
      if (strides[i] == 0) continue;
      if (++at[i] < dims[i]) break;
      at[i] = 0;
    }
  }
  strides = dense;
  return copy;
}

template <class T>
Buffer constant(const float* data, const Dims& dims, Strides& strides) {
  const Buffer floats = relay(data, dims, strides);
  return stored_floats<T>(floats.as<float>(), static_cast<int64_t>(floats.bytes() / 4));
}

// The problem as outer x rows x columns.
struct Walk {
  struct Dim {
    int64_t n, a, b;  // length, steps of a and b
  };
  int64_t rows = 1, columns = 1;
  int64_t a_row = 0, b_row = 0;
  bool a_scalar = false, b_scalar = false;
  std::vector<Dim> outer;
  bool possible = true;

  // Offsets of a and b, per turn of `outer`.
  std::vector<std::pair<int64_t, int64_t>> starts() const {
    std::vector<std::pair<int64_t, int64_t>> found{{0, 0}};
    for (const Dim& d : outer) {
      std::vector<std::pair<int64_t, int64_t>> next;
      next.reserve(found.size() * static_cast<size_t>(d.n));
      for (const auto& [oa, ob] : found)
        for (int64_t i = 0; i < d.n; ++i) next.push_back({oa + i * d.a, ob + i * d.b});
      found = std::move(next);
    }
    return found;
  }
};

Walk make_walk(const Dims& dims, const Strides& a, const Strides& b) {
  using Dim = Walk::Dim;
  std::vector<Dim> merged;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 1) continue;
    if (!merged.empty() && merged.back().a == a[i] * dims[i] && merged.back().b == b[i] * dims[i])
      merged.back() = {merged.back().n * dims[i], a[i], b[i]};
    else
      merged.push_back({dims[i], a[i], b[i]});
  }
  Walk w;
  if (merged.empty()) merged.push_back({1, 1, 1});
  const Dim inner = merged.back();
  merged.pop_back();
  w.possible = inner.a <= 1 && inner.b <= 1;
  w.columns = inner.n;
  w.a_scalar = inner.a == 0;
  w.b_scalar = inner.b == 0;
  if (!merged.empty()) {
    w.rows = merged.back().n;
    w.a_row = merged.back().a;
    w.b_row = merged.back().b;
    merged.pop_back();
  }
  w.outer = std::move(merged);
  return w;
}

template <class T>
class BinaryKernel : public PieceKernel {
 public:
  BinaryKernel(const BinaryOf<T>& kernel, Binary op, Walk walk, const Problem& p)
      : kernel_(kernel), op_(op), walk_(std::move(walk)), starts_(walk_.starts()), post_(p) {
    const auto dynamic = p.dynamic();
    for (size_t i = 0; i < dynamic.size(); ++i) {
      if (dynamic[i] < 2) value_[dynamic[i]] = static_cast<int>(i);
      if (dynamic[i] == p.residual()) residual_ = static_cast<int>(i);
    }
  }
  void set_constant(int operand, Buffer data) { constant_[operand] = std::move(data); }
  void set_same() { value_[1] = value_[0]; }
  size_t packed_bytes() const override {
    return constant_[0].bytes() + constant_[1].bytes() + starts_.size() * sizeof(starts_[0]);
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const T* operand[2];
    for (int i = 0; i < 2; ++i)
      operand[i] = value_[i] < 0 ? constant_[i].template as<T>() : static_cast<const T*>(in[value_[i]]);
    const T* residual = residual_ < 0 ? nullptr : static_cast<const T*>(in[residual_]);
    T* y = static_cast<T*>(out[0]);
    const int64_t rows = walk_.rows, columns = walk_.columns;
    share_rows(team, static_cast<int64_t>(starts_.size()), rows, columns,
               [&](int64_t o, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
                 const T* a = operand[0] + starts_[static_cast<size_t>(o)].first;
                 const T* b = operand[1] + starts_[static_cast<size_t>(o)].second;
                 const int64_t base = o * rows * columns;
                 if (post_.nothing()) return call(a, b, y + base, r0, r1, c0, c1);
                 const int64_t step = c1 - c0 == columns ? std::max<int64_t>(1, kChunk / columns) : 1;
                 for (int64_t r = r0; r < r1; r += step)
                   for (int64_t c = c0; c < c1; c += kChunk) {
                     const int64_t r_end = std::min(r1, r + step), c_end = std::min(c1, c + kChunk);
                     const int64_t at = base + r * columns + c;
                     call(a, b, y + base, r, r_end, c, c_end);
                     post_.apply(y + at, residual ? residual + at : nullptr, (r_end - r) * (c_end - c));
                   }
               });
  }

 private:
  static constexpr int64_t kChunk = PostOf<T>::kChunk;
  // Rows [r0, r1), columns [c0, c1) of one outer index; more than one row only with all columns.
  void call(const T* a, const T* b, T* y, int64_t r0, int64_t r1, int64_t c0, int64_t c1) const noexcept {
    const BinaryArgs<T> args{op_,
                             a + r0 * walk_.a_row + (walk_.a_scalar ? 0 : c0),
                             b + r0 * walk_.b_row + (walk_.b_scalar ? 0 : c0),
                             y + r0 * walk_.columns + c0,
                             r1 - r0, c1 - c0, walk_.a_row, walk_.b_row, walk_.a_scalar, walk_.b_scalar,
                             post_.low(), post_.high()};
    kernel_.run(&args);
  }

  const BinaryOf<T>& kernel_;
  Binary op_;
  Walk walk_;
  std::vector<std::pair<int64_t, int64_t>> starts_;  // of walk_
  PostOf<T> post_;
  int value_[2] = {-1, -1};
  int residual_ = -1;
  Buffer constant_[2];
};

template <class T>
class BinaryRoutine : public VectorRoutine {
 public:
  BinaryRoutine(const std::string& layer, Binary op, Layout layout)
      : VectorRoutine(layer, "broadcast", layout, stored_kind<T>(PW_KIND_BINARY), true,
                      kStored<T>),
        op_(op) {
    card_.version = 2;
  }

  Verdict accepts(const Problem& p) const override {
    if (p.arity() != 2) return Verdict::no("it computes two operands");
    if (p.in[0].constant && p.in[1].constant) return Verdict::no("both operands are constants");
    if (auto verdict = this->basics(p, p.out[0]); !verdict) return verdict;
    for (const Tensor& t : {p.in[0], p.in[1]})
      if (t.shape.size() > p.out[0].shape.size()) return Verdict::no("an operand has a higher rank than the output");
    if (!walk_of(p).possible)
      return Verdict::no("an operand of a lower rank does not lie along the layout's innermost dimension");
    return Verdict::ok();
  }

  Ports ports(const Problem& p) const override {
    Ports ports = VectorRoutine::ports(p);
    const auto dynamic = p.dynamic();
    for (size_t i = 0; i < dynamic.size(); ++i)
      if (dynamic[i] < 2 && p.in[dynamic[i]].shape == p.out[0].shape) ports.reuse.push_back({static_cast<int>(i), 0});
    return ports;
  }

  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant,
                                  const Constants& constants) const override {
    const Dims dims = physical(this->layout_, p.out[0].shape);
    Strides strides[2] = {strides_of(p, 0), strides_of(p, 1)};
    // x^2 is by far the most common power.
    const bool square = op_ == Binary::pow && p.in[1].constant && p.in[1].count() == 1 &&
                        *constants[1].as<float>() == 2.0f && p.in[0].shape == p.out[0].shape;
    if (square) strides[1] = strides[0];
    Buffer packed[2];
    for (int i = 0; i < 2; ++i)
      if (p.in[i].constant && !square) packed[i] = constant<T>(constants[i].as<float>(), dims, strides[i]);
    auto kernel = std::make_unique<BinaryKernel<T>>(variant_ukernel<BinaryOf<T>>(this->kind_, variant),
                                                    square ? Binary::mul : op_,
                                                    make_walk(dims, strides[0], strides[1]), p);
    for (int i = 0; i < 2; ++i)
      if (p.in[i].constant && !square) kernel->set_constant(i, std::move(packed[i]));
    if (square) kernel->set_same();
    return kernel;
  }

 private:
  Strides strides_of(const Problem& p, int i) const {
    const Tensor& t = p.in[i];
    const bool row_major = t.constant || t.shape.size() != p.out[0].shape.size();
    return operand_strides(t.shape, row_major ? Layout::plain : this->layout_, p.out[0].shape, this->layout_);
  }
  // Constants count as lying in the order that prepare gives them.
  Walk walk_of(const Problem& p) const {
    const Dims dims = physical(this->layout_, p.out[0].shape);
    Strides strides[2] = {strides_of(p, 0), strides_of(p, 1)};
    for (int i = 0; i < 2; ++i)
      if (p.in[i].constant) {
        int64_t step = 1;
        for (size_t d = dims.size(); d-- > 0;)
          if (strides[i][d] != 0) strides[i][d] = step, step *= dims[d];
      }
    return make_walk(dims, strides[0], strides[1]);
  }

  Binary op_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  const std::pair<const char*, Binary> rows[] = {
      {"add", Binary::add}, {"sub", Binary::sub}, {"mul", Binary::mul}, {"div", Binary::div},
      {"minimum", Binary::minimum}, {"maximum", Binary::maximum}, {"pow", Binary::pow}, {"prelu", Binary::prelu}};
  for (const auto& [layer, op] : rows) {
    for (Layout layout : kAllLayouts) c.add<BinaryRoutine<float>>(layer, op, layout);
    // A power enlarges what rounding its operands loses beyond class reduced.
    if (op == Binary::pow) continue;
    for (Layout layout : kNarrowLayouts)
      for_each_half([&](auto half) { c.add<BinaryRoutine<decltype(half)>>(layer, op, layout); });
  }
}
}  // namespace PW_COLLECT

}  // namespace pw
