// Normalisation down the columns of matrices: over axes with others behind them in memory, as of the channels of an image in
// nchw, and of channels that lie side by side, as in nhwc. Rows are summed in f32 in parts of kNormRows, which are merged in
// double.
#include "routines/layer_norm/normalised.h"
#include "spi/estimate.h"

namespace pw {
namespace {

// Columns that are done together.
constexpr int64_t kColumns = 64;

// Statistics of each of some columns, from those of the parts of their rows. `at(k)`: floats mean, rest and sum of part k, each
// `stride` floats behind the other.
struct Part {
  const float* at;
  double rows;
};
template <class At>
void merge_columns(Moment what, int64_t parts, int64_t columns, int64_t stride, At&& at, Statistics* found) noexcept {
  for (int64_t j = 0; j < columns; ++j) found[j] = {};
  for (int64_t k = 0; k < parts; ++k) {
    const Part part = at(k);
    for (int64_t j = 0; j < columns; ++j) {
      found[j].count += part.rows;
      found[j].mean += part.rows * (static_cast<double>(part.at[j]) + static_cast<double>(part.at[stride + j]));
    }
  }
  for (int64_t j = 0; j < columns; ++j) found[j].mean = what == Moment::centred ? found[j].mean / found[j].count : 0;
  for (int64_t k = 0; k < parts; ++k) {
    const Part part = at(k);
    for (int64_t j = 0; j < columns; ++j) {
      const double d = static_cast<double>(part.at[j]) + static_cast<double>(part.at[stride + j]) - found[j].mean;
      found[j].sum += static_cast<double>(part.at[2 * stride + j]) + (what == Moment::centred ? part.rows * d * d : 0);
    }
  }
}

// y = act(y + residual) of rows of columns; nothing where the micro-kernel has done it.
void finish(const Post& post, float* y, const float* residual, int64_t rows, int64_t columns, int64_t step) noexcept {
  if (post.nothing()) return;
  if (columns == step) return post.apply(y, residual, rows * columns);
  for (int64_t r = 0; r < rows; ++r) post.apply(y + r * step, residual ? residual + r * step : nullptr, columns);
}

// outer x length x inner: each of the inner columns by itself, with parameters by the row.
class NormColumnsKernel : public PieceKernel {
 public:
  NormColumnsKernel(const NormF32& kernel, const Problem& p, const Constants& constants, Layout layout, Normalisation how,
                    NormOpenAxes open)
      : kernel_(kernel), operands_(p, constants), how_(std::move(how)), layout_(layout_of(layout, p.in[0].shape.size())),
        rank_(p.in[0].shape.size()), post_(p), residual_(p.residual()), open_(std::move(open)) {
    for (size_t i : {size_t{1}, size_t{2}})
      if (p.has(i) && i < p.arity()) count_[i] = p.in[i].count();
  }
  bool open(size_t port, size_t axis) const override { return open_(port, axis); }

  int run(const Context& c) noexcept override {
    const int64_t* size = c.in_sizes[0];
    int64_t outer = 1, length = 1, inner = 1;
    bool among = false;
    for (size_t i = 0; i < rank_; ++i) {
      const int axis = axis_in_memory(layout_, static_cast<int>(i));
      if (size[axis] == 1) continue;
      const bool chosen = std::find(how_.axes.begin(), how_.axes.end(), axis) != how_.axes.end();
      among = among || chosen;
      (chosen ? length : among ? inner : outer) *= size[axis];
    }
    // Where the axes have one element in this run, it does not matter which of the others are called inner.
    if (outer == 0 || length == 0 || inner == 0) return 0;
    const float *scale = parameter(1, c), *bias = parameter(2, c);
    const int64_t blocks = (inner + kColumns - 1) / kColumns;
    in_pieces(c.team, outer * blocks, 1, 3 * outer * length * inner, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t from = i % blocks * kColumns;
        column_block(c, i / blocks * length * inner + from, length, std::min(kColumns, inner - from), inner, scale, bias);
      }
    });
    return 0;
  }

 private:
  const float* parameter(size_t i, const Context& c) const noexcept {
    return count_[i] ? operands_.get<float>(static_cast<int>(i), c.in) : nullptr;
  }
  void column_block(const Context& c, int64_t at, int64_t length, int64_t columns, int64_t step, const float* scale,
                    const float* bias) const noexcept {
    const float* x = static_cast<const float*>(c.in[0]) + at;
    float* y = static_cast<float*>(c.out[0]) + at;
    const float* residual = residual_ < 0 ? nullptr : operands_.get<float>(residual_, c.in) + at;
    Statistics s[kColumns];
    for (int64_t r = 0; r < length; r += kNormRows) {
      float mean[kColumns], rest[kColumns], sum[kColumns];
      const int64_t n = std::min(kNormRows, length - r);
      kernel_.column_moments(how_.what, x + r * step, n, columns, step, mean, rest, sum);
      for (int64_t j = 0; j < columns; ++j) {
        const double both = static_cast<double>(mean[j]) + static_cast<double>(rest[j]);
        s[j].add(static_cast<double>(n), both, static_cast<double>(sum[j]));
      }
    }
    float high[kColumns], low[kColumns], factor[kColumns];
    const bool one_scale = scale && count_[1] == 1, one_bias = bias && count_[2] == 1;
    for (int64_t j = 0; j < columns; ++j) {
      high[j] = s[j].high();
      low[j] = s[j].low();
      factor[j] = static_cast<float>(how_.factor(s[j].sum, s[j].count));
    }
    // Parameters are one number for each row; one number for all is repeated.
    float ones[kNormRows], others[kNormRows];
    if (one_scale) std::fill(ones, ones + kNormRows, *scale);
    if (one_bias) std::fill(others, others + kNormRows, *bias);
    for (int64_t r = 0; r < length; r += kNormRows) {
      const int64_t n = std::min(kNormRows, length - r);
      const NormColumns args{x + r * step, y + r * step, n, columns, step, high, low, factor, nullptr,
                             !scale ? nullptr : one_scale ? ones : scale + r, !bias ? nullptr : one_bias ? others : bias + r,
                             post_.low(), post_.high()};
      kernel_.columns(&args);
      finish(post_, y + r * step, residual ? residual + r * step : nullptr, n, columns, step);
    }
  }

  const NormF32& kernel_;
  Operands operands_;
  Normalisation how_;
  Layout layout_;
  size_t rank_;
  Post post_;
  int residual_;
  NormOpenAxes open_;
  int64_t count_[3] = {};
};

// Images with the channels last: the statistics of parts of the pixels, then of groups of channels, then the elements.
class NormChannelsKernel : public Kernel {
 public:
  NormChannelsKernel(const NormF32& kernel, const Problem& p, const Constants& constants, Normalisation how, NormOpenAxes open)
      : kernel_(kernel), operands_(p, constants), how_(std::move(how)), rank_(p.in[0].shape.size()), post_(p),
        residual_(p.residual()), open_(std::move(open)), has_scale_(p.has(1) && p.arity() > 1),
        has_bias_(p.has(2) && p.arity() > 2) {
    const Image image = image_of(p.in[0].shape.data());
    workspace_ = static_cast<size_t>(image.images * (3 * image.parts + 4) * image.channels) * sizeof(float);
  }
  int64_t phases() const override { return 3; }
  size_t workspace_bytes() const override { return workspace_; }
  bool open(size_t port, size_t axis) const override { return open_(port, axis); }

  int run(const Context& c) noexcept override {
    const Image image = image_of(c.in_sizes[0]);
    const int64_t total = image.images * image.pixels * image.channels;
    if (total == 0) return 0;
    float* sums = static_cast<float*>(c.workspace);
    float* factors = sums + image.images * image.parts * 3 * image.channels;
    if (c.team.phase == 0) {
      const float* x = static_cast<const float*>(c.in[0]);
      in_pieces(c.team, image.images * image.parts, 1, 2 * total, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          float* to = sums + i * 3 * image.channels;
          kernel_.column_moments(how_.what, x + image.start(i) * image.channels, image.rows(i % image.parts), image.channels,
                                 image.channels, to, to + image.channels, to + 2 * image.channels);
        }
      });
    } else if (c.team.phase == 1) {
      const int64_t groups = how_.groups < 0 ? image.channels : how_.groups, width = image.channels / groups;
      const int64_t together = std::max<int64_t>(1, kColumns / width), blocks = (groups + together - 1) / together;
      const int64_t cost = 4 * image.images * image.parts * image.channels;
      in_pieces(c.team, image.images * blocks, 1, cost, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const int64_t from = i % blocks * together;
          some_groups(c, image, i / blocks, from, std::min(groups, from + together), width, sums, factors);
        }
      });
    } else {
      in_pieces(c.team, image.images * image.parts, 1, 2 * total, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) apply(c, image, i, factors);
      });
    }
    return 0;
  }

 private:
  struct Image {
    int64_t images = 1, pixels = 1, channels = 1, parts = 0;
    // The first pixel of part i of all, and how many pixels part k of an image has.
    int64_t start(int64_t i) const noexcept { return i / parts * pixels + i % parts * kNormRows; }
    int64_t rows(int64_t k) const noexcept { return std::min(kNormRows, pixels - k * kNormRows); }
  };
  Image image_of(const int64_t* size) const noexcept {
    Image image{size[0], 1, size[1], 0};
    for (size_t i = 2; i < rank_; ++i) image.pixels *= size[i];
    image.parts = (image.pixels + kNormRows - 1) / kNormRows;
    return image;
  }
  // Groups [first, last) of image n, which have `width` channels each: factors of their channels. There is one group where a
  // group has more than kColumns channels.
  void some_groups(const Context& c, const Image& image, int64_t n, int64_t first, int64_t last, int64_t width,
                   const float* sums, float* factors) const noexcept {
    const float* of_image = sums + n * image.parts * 3 * image.channels;
    float* high = factors + n * 4 * image.channels;
    const int64_t from = first * width, to = last * width;
    Statistics all, s[kColumns];
    for (int64_t j = from; j < to; j += kColumns) {
      const int64_t columns = std::min(kColumns, to - j);
      merge_columns(how_.what, image.parts, columns, image.channels, [&](int64_t k) {
        return Part{of_image + k * 3 * image.channels + j, static_cast<double>(image.rows(k))};
      }, s);
      for (int64_t k = 0; k < columns; ++k) {
        all.add(s[k].count, s[k].mean, s[k].sum);
        if ((j + k + 1) % width) continue;
        store(c, image, all, j + k + 1 - width, width, high);
        all = {};
      }
    }
  }
  void store(const Context& c, const Image& image, const Statistics& s, int64_t from, int64_t width,
             float* high) const noexcept {
    const float* scale = has_scale_ ? operands_.get<float>(1, c.in) : nullptr;
    const float* bias = has_bias_ ? operands_.get<float>(2, c.in) : nullptr;
    const double factor = how_.factor(s.sum, s.count);
    for (int64_t ch = from; ch < from + width; ++ch) {
      high[ch] = s.high();
      high[image.channels + ch] = s.low();
      high[2 * image.channels + ch] = static_cast<float>(scale ? factor * static_cast<double>(scale[ch]) : factor);
      high[3 * image.channels + ch] = bias ? bias[ch] : 0.0f;
    }
  }
  void apply(const Context& c, const Image& image, int64_t i, const float* factors) const noexcept {
    const float* high = factors + i / image.parts * 4 * image.channels;
    const int64_t all = image.rows(i % image.parts);
    const int64_t step = post_.nothing() ? all : std::max<int64_t>(1, Post::kChunk / image.channels);
    for (int64_t r = 0; r < all; r += step) {
      const int64_t at = (image.start(i) + r) * image.channels, rows = std::min(step, all - r);
      float* y = static_cast<float*>(c.out[0]) + at;
      const NormColumns args{static_cast<const float*>(c.in[0]) + at, y, rows, image.channels, image.channels, high,
                             high + image.channels, high + 2 * image.channels, high + 3 * image.channels, nullptr, nullptr,
                             post_.low(), post_.high()};
      kernel_.columns(&args);
      const float* residual = residual_ < 0 ? nullptr : operands_.get<float>(residual_, c.in) + at;
      finish(post_, y, residual, rows, image.channels, image.channels);
    }
  }

  const NormF32& kernel_;
  Operands operands_;
  Normalisation how_;
  size_t rank_;
  Post post_;
  int residual_;
  NormOpenAxes open_;
  bool has_scale_, has_bias_;
  size_t workspace_ = 0;
};

class NormOfColumns : public VectorRoutine, public Estimating {
 public:
  NormOfColumns(const std::string& layer, Layout layout) : VectorRoutine(layer, "columns", layout, PW_KIND_NORM_F32, true) {}

  Verdict accepts(const Problem& p) const override {
    if (p.in.empty() || p.in[0].constant) return Verdict::no("its input is a constant");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    const Normalisation how = normalisation_of(p);
    const Dims& shape = p.in[0].shape;
    if (how.by_channel()) return Verdict::ok();
    const Group g = group_of(layout_, shape, how.axes);
    if (!g.together) return Verdict::no("the axes do not lie side by side in memory");
    if (g.inner == 1) return Verdict::no("the axes are the last ones in memory");
    for (size_t i : {size_t{1}, size_t{2}})
      if (auto verdict = parameter(p, i, how, g.length); !verdict) return verdict;
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override { return in_place(VectorRoutine::ports(p)); }
  Estimate estimate(const Problem& p, const std::string&) const override {
    // Vectors along what lies inside of the axes.
    const Normalisation how = normalisation_of(p);
    const double inner = how.by_channel() ? 16.0 : static_cast<double>(group_of(layout_, p.in[0].shape, how.axes).inner);
    return Estimate::at(0.02 * std::min(1.0, inner / 16));
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    const auto& kernel = variant_ukernel<NormF32>(kind_, variant);
    Normalisation how = normalisation_of(p);
    NormOpenAxes open(p, ports(p), how.by_channel());
    if (how.by_channel()) return std::make_unique<NormChannelsKernel>(kernel, p, constants, std::move(how), std::move(open));
    return std::make_unique<NormColumnsKernel>(kernel, p, constants, layout_, std::move(how), std::move(open));
  }

 private:
  // One number, or one for each element along the axes, in their order in memory.
  Verdict parameter(const Problem& p, size_t i, const Normalisation& how, int64_t length) const {
    if (!p.has(i) || i >= p.arity() || p.in[i].count() == 1) return Verdict::ok();
    const Dims &x = p.in[0].shape, &own = p.in[i].shape;
    const size_t missing = x.size() - own.size();
    Dims left = x;
    for (size_t a = 0; a < x.size(); ++a) {
      if (std::find(how.axes.begin(), how.axes.end(), static_cast<int64_t>(a)) != how.axes.end()) continue;
      left[a] = 1;
      if (a >= missing && own[a - missing] != 1)
        return Verdict::no("scale or bias differ along an axis that is not normalised");
    }
    if (p.in[i].count() != length) return Verdict::no("scale or bias broadcast along the axes");
    if (!row_major(layout_of(layout_, x.size()), left)) return Verdict::no("scale or bias lie in another order than x");
    return Verdict::ok();
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : kNormalisations) {
    c.add<NormOfColumns>(layer, Layout::nhwc);
    if (normalises_channels(layer)) continue;  // elsewhere their rows are the last axes in memory
    for (Layout layout : {Layout::plain, Layout::nchw}) c.add<NormOfColumns>(layer, layout);
  }
}
}  // namespace PW_COLLECT

}  // namespace pw
