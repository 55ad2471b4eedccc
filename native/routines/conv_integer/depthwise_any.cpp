// conv_integer/depthwise: one filter per channel, channels side by side in memory: an image of planes is copied before, and a
// line of results put into planes. Taps that lie in the padding read a row of zero points.
#include <algorithm>
#include <cstring>
#include <limits>

#include "products/integer.h"
#include "spi/estimate.h"
#include "ukernels/kinds/taps_i8.h"
#include "ukernels/kinds/transpose_u8.h"

namespace pw {
namespace {

enum Input { kX, kW, kXZero, kWZero, kBias, kScale, kZero };

// Whether what sums begin with is known before the run.
bool known_terms(const Problem& p) {
  for (size_t i : {kXZero, kWZero, kBias})
    if (p.has(i) && !p.in[i].constant) return false;
  return true;
}

class DepthwiseIntegerKernel : public Kernel {
 public:
  DepthwiseIntegerKernel(const Problem& p, const Constants& constants, Layout images, const TapsI8& kernel,
                         const Linear& linear, const TransposeU8& transpose)
      : operands_(p, constants, images), planes_(images != Layout::nhwc), known_(known_terms(p)), kernel_(kernel),
        linear_(linear), transpose_(transpose), end_(p.out[0].dtype), x_type_(p.in[0].dtype), w_type_(p.in[1].dtype),
        channels_(p.in[1].shape[0]), kh_(p.in[1].shape[2]), kw_(p.in[1].shape[3]), stride_(p.integers("stride")), pad_(p.integers("pad")),
        dilation_(p.integers("dilation")), ports_(p.dynamic().size()) {
    for (size_t i = 0; i < 7; ++i) has_[i] = p.has(i);
    // Filters of three or four lines: four taps are a column.
    by_columns_ = kernel.group == 4 && (kh_ == 3 || kh_ == 4);
    taps_ = by_columns_ ? 4 * kw_ : round_up(kh_ * kw_, kernel.group);
    row_ = round_up(std::max<int64_t>(channels_, kernel.group == 4 ? kernel.block : 0), 16);
    // As many pixels as leave their sums in the first cache. Where there are several, a stride lies within the image.
    pixels_ = std::clamp<int64_t>(4096 / row_, 1, std::min<int64_t>(16, p.out[0].shape[3]));
    if (kernel.group == 4) packed_bytes_ = divide_up(channels_, kernel.block) * (taps_ / 4 + 1) * kernel.block * 4;
    else packed_bytes_ = (taps_ + 1) * row_ * 4;
    padding_bytes_ = round_up(((pixels_ > 1 ? (pixels_ - 1) * stride_[1] : 0) + kw_) * channels_, 64);
    if (known_) {
      kept_ = Buffer(static_cast<size_t>(packed_bytes_ + padding_bytes_));
      std::memset(kept_.as<char>(), 0, static_cast<size_t>(packed_bytes_));
      const Terms terms{has_[kXZero] ? constants[kXZero].data : nullptr, has_[kWZero] ? constants[kWZero].data : nullptr,
                        has_[kWZero] ? p.in[kWZero].count() : 1, has_[kBias] ? constants[kBias].as<int32_t>() : nullptr,
                        constants[kW].data};
      prepare(terms, 0, channels_, kept_.as<int32_t>());
      std::memset(kept_.as<char>() + packed_bytes_, x_point(terms), static_cast<size_t>(padding_bytes_));
    }
    copy_ = planes_ ? round_up(p.in[0].count(), 64) : 0;
    line_ = planes_ ? round_up(p.out[0].shape[3] * channels_ * end_.width(), 64) : 0;
    areas_ = {round_up(taps_ * 8, 64) + pixels_ * row_ * 4 + line_, p.threads};
  }
  int64_t phases() const override { return planes_ || !known_ ? 2 : 1; }
  bool open(size_t port, size_t axis) const override { return axis != 1 && (port == 0 || port == ports_); }
  size_t workspace_bytes() const override {
    return static_cast<size_t>((known_ ? 0 : packed_bytes_ + padding_bytes_) + copy_) + areas_.total();
  }
  size_t packed_bytes() const override { return kept_.bytes(); }

  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(kX, c), y = operands_.out(0, c);
    auto* own = static_cast<char*>(c.workspace);
    auto* copy = reinterpret_cast<uint8_t*>(own + (known_ ? 0 : packed_bytes_ + padding_bytes_));
    const char* packed = known_ ? kept_.as<char>() : own;
    if (c.team.phase + 1 < phases()) {
      if (planes_) copy_planes(c, x, copy);
      const int64_t grain = round_up(std::max<int64_t>(channels_ / (2 * c.team.count), 64), 16);
      c.team.each(known_ ? 0 : channels_, grain, [&](int64_t first, int64_t last) {
        const auto data = [&](Input k) { return has_[k] ? operands_.in(k, c).data : nullptr; };
        const Terms terms{data(kXZero), data(kWZero), has_[kWZero] ? operands_.in(kWZero, c).count() : 1,
                          static_cast<const int32_t*>(data(kBias)), operands_.in(kW, c).data};
        prepare(terms, first, last, reinterpret_cast<int32_t*>(own));
        if (first == 0) std::memset(own + packed_bytes_, x_point(terms), static_cast<size_t>(padding_bytes_));
      });
      return 0;
    }
    const Run run{c, x, y, planes_ ? copy : x.as<uint8_t>(), packed, reinterpret_cast<const uint8_t*>(packed + packed_bytes_)};
    const int64_t lines = y.size[0] * y.size[2];
    char* area = areas_.own<char>(reinterpret_cast<char*>(copy) + copy_, c.team);
    c.team.each(lines, std::max<int64_t>(1, lines / (8 * c.team.count)), [&](int64_t first, int64_t last) {
      SumsArgs end{};
      end.bytes = end_.bytes();
      end.zero = end_.zero(has_[kZero] ? operands_.in(kZero, c).data : nullptr);
      end.low = end_.low, end.high = end_.high;
      if (has_[kScale]) {
        const Operand scale = operands_.in(kScale, c);
        end.each = scale.count() != 1;
        end.scale = scale.as<float>();
      }
      for (int64_t i = first; i < last; ++i) line(run, i, area, end);
    });
    return 0;
  }

 private:
  struct Run {
    const Context& c;
    const Operand &x, &y;
    const uint8_t* image;  // channels side by side
    const char* packed;
    const uint8_t* padding;
  };
  // What sums are made of besides x; null where it is absent.
  struct Terms {
    const void *x_zero, *w_zero;
    int64_t w_zeros;
    const int32_t* bias;
    const void* weights;
  };

  // One line of outputs: runs of pixels whose taps all lie within the image's columns, and the others one by one.
  void line(const Run& r, int64_t line, char* area, SumsArgs& end) const noexcept {
    const int64_t oh = r.y.size[2], ow = r.y.size[3], height = r.x.size[2], width = r.x.size[3];
    const int64_t image = line / oh, top = (line - image * oh) * stride_[0] - pad_[0];
    auto** pointers = reinterpret_cast<const void**>(area);
    auto* sums = reinterpret_cast<int32_t*>(area + round_up(taps_ * 8, 64));
    char* results = area + round_up(taps_ * 8, 64) + pixels_ * row_ * 4;
    char* to = planes_ ? results : static_cast<char*>(r.c.out[0]) + line * ow * channels_ * end_.width();
    const int32_t* starts = reinterpret_cast<const int32_t*>(r.packed) + taps_ * row_;
    TapsI8Args args{pointers, r.packed, starts, taps_, row_, 1, stride_[1] * channels_, sums, row_, is_signed(x_type_), false};
    for (int64_t t = 0; t < taps_; ++t) pointers[t] = r.padding;
    const int64_t reach = (kw_ - 1) * dilation_[1];
    for (int64_t ox = 0; ox < ow; ox += args.pixels) {
      const int64_t left = ox * stride_[1] - pad_[1];
      const bool within = left >= 0 && left + reach < width;
      args.pixels = within ? std::min({pixels_, ow - ox, (width - 1 - reach - left) / stride_[1] + 1}) : 1;
      args.columns = within && by_columns_ && stride_[1] == 1 && dilation_[1] == 1;
      for (int64_t ky = 0; ky < kh_; ++ky) {
        const int64_t iy = top + ky * dilation_[0];
        const uint8_t* row = iy >= 0 && iy < height ? r.image + (image * height + iy) * width * channels_ : nullptr;
        for (int64_t kx = 0; kx < kw_; ++kx) {
          const int64_t ix = left + kx * dilation_[1];
          pointers[tap(ky, kx)] = row && (within || (ix >= 0 && ix < width)) ? row + ix * channels_ : r.padding;
        }
      }
      kernel_.run(&args, channels_);
      for (int64_t i = 0; i < args.pixels; ++i) {
        end.sums = sums + i * row_;
        linear_.finish(&end, to + (ox + i) * channels_ * end_.width(), channels_);
      }
    }
    if (planes_ && end_.width() == 1) to_planes<uint8_t>(r.c, results, image, line - image * oh, oh, ow);
    else if (planes_) to_planes<uint32_t>(r.c, results, image, line - image * oh, oh, ow);
  }

  // Where a tap stands among those of the micro-kernel.
  int64_t tap(int64_t ky, int64_t kx) const { return by_columns_ ? 4 * kx + ky : ky * kw_ + kx; }
  static int32_t own_point(const void* points, DType dtype, int64_t i) {
    if (!points) return 0;
    return is_signed(dtype) ? static_cast<const int8_t*>(points)[i] : static_cast<const uint8_t*>(points)[i];
  }
  int32_t x_point(const Terms& terms) const noexcept { return own_point(terms.x_zero, x_type_, 0); }

  void copy_planes(const Context& c, const Operand& x, uint8_t* copy) const noexcept {
    const int64_t height = x.size[2], width = x.size[3], lines = x.size[0] * height;
    c.team.each(lines, std::max<int64_t>(1, lines / (8 * c.team.count)), [&](int64_t first, int64_t last) {
      for (int64_t line = first; line < last; ++line) {
        const int64_t image = line / height;
        const uint8_t* from = x.as<uint8_t>() + (image * channels_ * height + line - image * height) * width;
        transpose_.run(from, height * width, copy + line * width * channels_, channels_, channels_, width);
      }
    });
  }
  template <class T>
  void to_planes(const Context& c, const char* results, int64_t image, int64_t line, int64_t oh, int64_t ow) const noexcept {
    auto* to = static_cast<T*>(c.out[0]) + (image * channels_ * oh + line) * ow;
    if constexpr (sizeof(T) == 1) {
      transpose_.run(reinterpret_cast<const uint8_t*>(results), channels_, to, oh * ow, ow, channels_);
    } else {
      const auto* from = reinterpret_cast<const T*>(results);
      for (int64_t n = 0; n < channels_; ++n)
        for (int64_t i = 0; i < ow; ++i) to[n * oh * ow + i] = from[i * channels_ + n];
    }
  }

  // The filters of some channels less their zero points, and what their sums begin with, as kinds/taps_i8.h has them. Without
  // weights' zero points four taps go together.
  void prepare(const Terms& p, int64_t first, int64_t last, int32_t* packed) const noexcept {
    const int64_t taps = kh_ * kw_;
    const bool quads = kernel_.group == 4;
    const int32_t x_zero = x_point(p) + (quads && is_signed(x_type_) ? 128 : 0);
    for (int64_t n = first; n < last; ++n) {
      const int32_t zero = own_point(p.w_zero, w_type_, p.w_zeros == 1 ? 0 : n);
      uint32_t total = 0;
      for (int64_t t = 0; t < taps; ++t) total += static_cast<uint32_t>(own_point(p.weights, w_type_, n * taps + t) - zero);
      const uint32_t bias = p.bias ? static_cast<uint32_t>(p.bias[n]) : 0;
      const auto start = static_cast<int32_t>(bias - static_cast<uint32_t>(x_zero) * total);
      if (!quads) {
        for (int64_t t = 0; t < taps; ++t) packed[t * row_ + n] = own_point(p.weights, w_type_, n * taps + t) - zero;
        packed[taps * row_ + n] = start;
        continue;
      }
      for (int64_t b = 0; b * kernel_.block < channels_; ++b) {
        const int64_t begin = channels_ < kernel_.block ? 0 : std::min(b * kernel_.block, channels_ - kernel_.block);
        if (n < begin || n >= begin + kernel_.block) continue;
        int32_t* record = packed + b * (taps_ / 4 + 1) * kernel_.block;
        const int64_t slot = slot_of_channel(n - begin, kernel_.block);
        record[slot] = start;
        for (int64_t i = 0; i < taps; ++i) {
          const int64_t t = tap(i / kw_, i % kw_);
          reinterpret_cast<int8_t*>(record + (t / 4 + 1) * kernel_.block + slot)[t % 4] =
              static_cast<int8_t>(own_point(p.weights, w_type_, n * taps + i));
        }
      }
    }
  }

  RunOperands operands_;
  bool planes_, known_, by_columns_ = false;
  const TapsI8& kernel_;
  const Linear& linear_;
  const TransposeU8& transpose_;
  SumsEnd end_;
  DType x_type_, w_type_;
  int64_t channels_, kh_, kw_;
  std::vector<int64_t> stride_, pad_, dilation_;
  size_t ports_;
  int64_t taps_ = 0, row_ = 0, pixels_ = 1, packed_bytes_ = 0, padding_bytes_ = 0, copy_ = 0, line_ = 0;
  Buffer kept_;  // what `prepare` made of constants, and a row of zero points
  bool has_[7];
  ThreadAreas areas_;
};

class DepthwiseInteger : public AnyRoutine, public Estimating {
 public:
  explicit DepthwiseInteger(Layout images) : AnyRoutine("conv_integer", "depthwise", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in[0].constant) return Verdict::no("x is a constant");
    if (p.in[0].count() == 0 || p.out[0].count() == 0) return Verdict::no("a tensor is empty");
    if (!p.in[1].constant) return Verdict::no("weights that are a value lie in the order of rows");
    const Dims& w = p.in[1].shape;
    if (p.integer("groups") != w[0] || w[1] != 1) return Verdict::no("it is not one filter per channel");
    return basics(p);
  }
  // Kernels for four taps at a time, which take weights as they are, those first whose blocks fit the channels; then the best
  // one for any.
  std::vector<std::string> variants(const Problem& p) const override {
    const bool four = is_signed(p.in[1].dtype) && !p.has(kWZero) && known_terms(p);
    std::vector<std::pair<int64_t, std::string>> found;
    for (const auto& [name, kernel] : ukernels_of<TapsI8>(PW_KIND_TAPS_I8)) {
      if (kernel->group == 1) {
        found.emplace_back(std::numeric_limits<int64_t>::max(), name);
        break;
      }
      // Channels that are computed, and what a block costs besides.
      if (four) found.emplace_back(divide_up(p.in[1].shape[0], kernel->block) * (kernel->block + 8), name);
    }
    std::stable_sort(found.begin(), found.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
    std::vector<std::string> names;
    for (auto& [cost, name] : found) names.push_back(std::move(name));
    return names;
  }
  Ports ports(const Problem& p) const override { return preferred(AnyRoutine::ports(p)); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const TapsI8& kernel = variant_ukernel<TapsI8>(PW_KIND_TAPS_I8, variant);
    const Dims &w = p.in[1].shape, &y = p.out[0].shape;
    const auto number = [](int64_t n) { return static_cast<double>(n); };
    const bool quads = kernel.group == 4;
    const int64_t taps = quads && (w[2] == 3 || w[2] == 4) ? 4 * w[3] : round_up(w[2] * w[3], kernel.group);
    const int64_t channels = quads ? round_up(w[0], kernel.block) : w[0], pixels = y[0] * y[2] * y[3];
    Estimate e;
    e.unit = DType::i8;
    e.add(2 * number(pixels * channels * taps), quads ? kQuads : kSingle);
    e.work += number(pixels * channels) * kEnd + number(pixels) * kPixel;
    e.constants = number(channels * (taps + 4));
    if (images_ != Layout::nhwc) {
      const double bytes = number(p.in[0].count());
      e.work += kTurned * (bytes + number(p.out[0].count()));
      e.move(2 * bytes, bytes);
      e.phases = 2;
    }
    e.pieces = number(y[0] * y[2]);
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    const TapsI8& kernel = variant_ukernel<TapsI8>(PW_KIND_TAPS_I8, variant);
    return std::make_unique<DepthwiseIntegerKernel>(p, constants, images_, kernel, best_ukernel<Linear>(PW_KIND_LINEAR),
                                                    best_ukernel<TransposeU8>(PW_KIND_TRANSPOSE_U8));
  }

 private:
  // Of the peak of bytes, with four taps at a time and with one; operations that an output takes beside, a pixel, and a byte
  // that is put into or out of a plane.
  static constexpr double kQuads = 0.3, kSingle = 0.08, kEnd = 25, kPixel = 500, kTurned = 16;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : {Layout::nchw, Layout::nhwc}) c.add<DepthwiseInteger>(layout);
}
}  // namespace PW_COLLECT
}  // namespace pw
