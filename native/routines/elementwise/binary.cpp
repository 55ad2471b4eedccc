// Functions of two elements with NumPy broadcasting.
#include <cstring>

#include "base/buffer.h"
#include "values/strided.h"
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

// A problem as outer x rows x columns, with the steps of a and b; y is dense.
struct Walk {
  Loops<2> outer;
  Loops<2>::Loop rows, columns;
  // The innermost loop goes along memory in both operands, or stands.
  bool possible() const { return columns.step[0] <= 1 && columns.step[1] <= 1; }
  bool a_scalar() const { return columns.step[0] == 0; }
  bool b_scalar() const { return columns.step[1] == 0; }

  Walk(const int64_t* dims, size_t count, const int64_t* a, const int64_t* b) {
    for (size_t i = 0; i < count; ++i) outer.add(dims[i], {a[i], b[i]});
    const bool one = outer.count == 0;
    columns = outer.take_inner();
    if (one) columns.step[0] = columns.step[1] = 1;
    rows = outer.take_inner();
  }
};

// One operand: strides along the dimensions of the output in memory are those of the problem, but for a value whose channels
// do not lie in blocks, which goes by the sizes of the run.
struct Strided {
  Strides fixed;
  int value = -1;  // index among the dynamic inputs, -1 for a constant
  int rank = 0;
  Layout layout = Layout::plain;

  // Into `step`, for an output of that rank and layout.
  void strides(const Context& c, int out_rank, Layout out_layout, int64_t* step) const noexcept {
    if (value < 0) return void(std::copy(fixed.begin(), fixed.end(), step));
    const int64_t* size = c.in_sizes[value];
    int64_t own[kMostRank];
    steps_of({nullptr, size, rank, layout}, own);
    for (int i = 0; i < out_rank; ++i) {
      const int d = axis_in_memory(out_layout, i) - (out_rank - rank);
      step[i] = d < 0 || size[d] == 1 ? 0 : own[d];
    }
  }
};

template <class T>
class BinaryKernel : public PieceKernel {
 public:
  BinaryKernel(const BinaryOf<T>& kernel, Binary op, const Problem& p, Layout layout, Strided a, Strided b)
      : kernel_(kernel), op_(op), post_(p), rank_(static_cast<int>(p.out[0].shape.size())), layout_(layout),
        dims_(physical(layout, p.out[0].shape)), operand_{std::move(a), std::move(b)} {
    const auto dynamic = p.dynamic();
    for (size_t i = 0; i < dynamic.size(); ++i)
      if (dynamic[i] == p.residual()) residual_ = static_cast<int>(i);
  }
  void set_constant(int operand, Buffer data) { constant_[operand] = std::move(data); }
  size_t packed_bytes() const override { return constant_[0].bytes() + constant_[1].bytes(); }
  bool open(size_t, size_t) const override { return facts(layout_).block == 0; }

  int run(const Context& c) noexcept override {
    const T* operand[2];
    for (int i = 0; i < 2; ++i)
      operand[i] = operand_[i].value < 0 ? constant_[i].template as<T>() : static_cast<const T*>(c.in[operand_[i].value]);
    const T* residual = residual_ < 0 ? nullptr : static_cast<const T*>(c.in[residual_]);
    T* y = static_cast<T*>(c.out[0]);
    const Walk walk = walk_of(c);
    const int64_t rows = walk.rows.size, columns = walk.columns.size;
    if (columns == 0 || rows == 0 || walk.outer.total == 0) return 0;
    share_rows(c.team, walk.outer.total, rows, columns, [&](int64_t o, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
      int64_t at[2];
      start_of(walk.outer, o, at);
      const T *a = operand[0] + at[0], *b = operand[1] + at[1];
      const int64_t base = o * rows * columns;
      if (post_.nothing()) return call(walk, a, b, y + base, r0, r1, c0, c1);
      const int64_t step = c1 - c0 == columns ? std::max<int64_t>(1, kChunk / columns) : 1;
      for (int64_t r = r0; r < r1; r += step)
        for (int64_t i = c0; i < c1; i += kChunk) {
          const int64_t r_end = std::min(r1, r + step), c_end = std::min(c1, i + kChunk), first = base + r * columns + i;
          call(walk, a, b, y + base, r, r_end, i, c_end);
          post_.apply(y + first, residual ? residual + first : nullptr, (r_end - r) * (c_end - i));
        }
    });
    return 0;
  }

 private:
  static constexpr int64_t kChunk = PostOf<T>::kChunk;

  Walk walk_of(const Context& c) const noexcept {
    if (facts(layout_).block) return {dims_.data(), dims_.size(), operand_[0].fixed.data(), operand_[1].fixed.data()};
    int64_t dims[kMostRank], a[kMostRank], b[kMostRank];
    for (int i = 0; i < rank_; ++i) dims[i] = c.out_sizes[0][axis_in_memory(layout_, i)];
    operand_[0].strides(c, rank_, layout_, a);
    operand_[1].strides(c, rank_, layout_, b);
    return {dims, static_cast<size_t>(rank_), a, b};
  }
  // Rows [r0, r1), columns [c0, c1) of one outer index; more than one row only with all columns.
  void call(const Walk& w, const T* a, const T* b, T* y, int64_t r0, int64_t r1, int64_t c0, int64_t c1) const noexcept {
    const int64_t a_row = w.rows.step[0], b_row = w.rows.step[1];
    const BinaryArgs<T> args{op_,
                             a + r0 * a_row + (w.a_scalar() ? 0 : c0),
                             b + r0 * b_row + (w.b_scalar() ? 0 : c0),
                             y + r0 * w.columns.size + c0,
                             r1 - r0, c1 - c0, a_row, b_row, w.a_scalar(), w.b_scalar(),
                             post_.low(), post_.high()};
    kernel_.run(&args);
  }

  const BinaryOf<T>& kernel_;
  Binary op_;
  PostOf<T> post_;
  int rank_;
  Layout layout_;
  Dims dims_;  // of the problem's output in memory
  Strided operand_[2];
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
    if (!walk_of(p).possible())
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
    // x^2 is by far the most common power.
    const bool square = op_ == Binary::pow && p.in[1].constant && p.in[1].count() == 1 &&
                        *constants[1].as<float>() == 2.0f && p.in[0].shape == p.out[0].shape;
    Strided operand[2];
    Buffer packed[2];
    for (int i = 0, value = 0; i < 2; ++i) {
      const Tensor& t = p.in[i];
      operand[i] = {strides_of(p, i), t.constant ? -1 : value++, static_cast<int>(t.shape.size()), layout_in(p, i)};
      if (t.constant && !square) packed[i] = constant<T>(constants[i].as<float>(), dims, operand[i].fixed);
    }
    if (square) operand[1] = operand[0];
    auto kernel = std::make_unique<BinaryKernel<T>>(variant_ukernel<BinaryOf<T>>(this->kind_, variant),
                                                    square ? Binary::mul : op_, p, this->layout_, std::move(operand[0]),
                                                    std::move(operand[1]));
    for (int i = 0; i < 2; ++i)
      if (p.in[i].constant && !square) kernel->set_constant(i, std::move(packed[i]));
    return kernel;
  }

 private:
  // Constants, and values of a lower rank than the output, lie in the order of rows.
  Layout layout_in(const Problem& p, int i) const {
    return p.in[i].constant || p.in[i].shape.size() != p.out[0].shape.size() ? Layout::plain : this->layout_;
  }
  Strides strides_of(const Problem& p, int i) const {
    return operand_strides(p.in[i].shape, layout_in(p, i), p.out[0].shape, this->layout_);
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
    return {dims.data(), dims.size(), strides[0].data(), strides[1].data()};
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
