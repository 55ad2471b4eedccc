// conv_integer/depthwise: one filter per channel, channels side by side in memory: an image of planes is copied before, and a
// line of results put into planes. Taps that lie in the padding read a row of zero points.
#include <cstring>

#include "products/integer.h"
#include "ukernels/kinds/taps_i8.h"

namespace pw {
namespace {

enum Input { kX, kW, kXZero, kWZero, kBias, kScale, kZero };

class DepthwiseIntegerKernel : public Kernel {
 public:
  DepthwiseIntegerKernel(const Problem& p, const Constants& constants, Layout images, const TapsI8& kernel, const Linear& linear)
      : operands_(p, constants, images), planes_(images != Layout::nhwc), kernel_(kernel), linear_(linear), end_(p.out[0].dtype), x_type_(p.in[0].dtype),
        w_type_(p.in[1].dtype), channels_(p.in[1].shape[0]), kh_(p.in[1].shape[2]), kw_(p.in[1].shape[3]),
        stride_(p.integers("stride")), pad_(p.integers("pad")), dilation_(p.integers("dilation")), ports_(p.dynamic().size()) {
    for (size_t i = 0; i < 7; ++i) has_[i] = p.has(i);
    row_ = round_up(channels_, 16);
    copy_ = planes_ ? round_up(p.in[0].count(), 64) : 0;
    line_ = planes_ ? round_up(p.out[0].shape[3] * channels_ * end_.width(), 64) : 0;
    areas_ = {round_up(kh_ * kw_ * 8, 64) + row_ * 4 + line_, p.threads};
  }
  int64_t phases() const override { return 2; }
  bool open(size_t port, size_t axis) const override { return axis != 1 && (port == 0 || port == ports_); }
  size_t workspace_bytes() const override { return static_cast<size_t>((taps() + 2) * row_ * 4 + copy_) + areas_.total(); }

  int run(const Context& c) noexcept override {
    // Weights less their zero points, tap by tap; what sums begin with; a row of zero points.
    auto* w = static_cast<int32_t*>(c.workspace);
    int32_t* starts = w + taps() * row_;
    auto* padding = reinterpret_cast<uint8_t*>(starts + row_);
    auto* copy = reinterpret_cast<uint8_t*>(starts + 2 * row_);
    const Operand x = operands_.in(kX, c), y = operands_.out(0, c);
    if (c.team.phase == 0) {
      if (planes_) copy_planes(c, x, copy);
      c.team.each(channels_, round_up(std::max<int64_t>(channels_ / (2 * c.team.count), 64), 16), [&](int64_t first, int64_t last) {
        prepare(c, first, last, w, starts, padding);
      });
      return 0;
    }
    const uint8_t* image_of = planes_ ? copy : x.as<uint8_t>();
    const int64_t oh = y.size[2], ow = y.size[3], lines = y.size[0] * oh;
    char* area = areas_.own<char>(reinterpret_cast<char*>(copy) + copy_, c.team);
    c.team.each(lines, std::max<int64_t>(1, lines / (8 * c.team.count)), [&](int64_t first, int64_t last) {
      auto** pointers = reinterpret_cast<const void**>(area);
      auto* sums = reinterpret_cast<int32_t*>(area + round_up(taps() * 8, 64));
      char* results = area + round_up(taps() * 8, 64) + row_ * 4;
      SumsArgs end{};
      end.sums = sums;
      end.bytes = end_.bytes();
      end.zero = end_.zero(has_[kZero] ? operands_.in(kZero, c).data : nullptr);
      end.low = end_.low, end.high = end_.high;
      if (has_[kScale]) {
        const Operand scale = operands_.in(kScale, c);
        end.each = scale.count() != 1;
        end.scale = scale.as<float>();
      }
      const TapsI8Args args{pointers, w, starts, taps(), row_, sums, is_signed(x_type_)};
      for (int64_t line = first; line < last; ++line) {
        const int64_t image = line / oh, top = (line - image * oh) * stride_[0] - pad_[0];
        for (int64_t ox = 0; ox < ow; ++ox) {
          const int64_t left = ox * stride_[1] - pad_[1];
          for (int64_t t = 0; t < taps(); ++t) {
            const int64_t iy = top + t / kw_ * dilation_[0], ix = left + t % kw_ * dilation_[1];
            const bool inside = iy >= 0 && iy < x.size[2] && ix >= 0 && ix < x.size[3];
            pointers[t] = inside ? image_of + ((image * x.size[2] + iy) * x.size[3] + ix) * channels_ : padding;
          }
          kernel_.run(&args, channels_);
          char* to = planes_ ? results + ox * channels_ * end_.width()
                             : static_cast<char*>(c.out[0]) + (line * ow + ox) * channels_ * end_.width();
          linear_.finish(&end, to, channels_);
        }
        if (planes_ && end_.width() == 1) to_planes<uint8_t>(c, results, image, line - image * oh, oh, ow);
        else if (planes_) to_planes<uint32_t>(c, results, image, line - image * oh, oh, ow);
      }
    });
    return 0;
  }

 private:
  int64_t taps() const { return kh_ * kw_; }
  static int32_t own_point(const void* points, DType dtype, int64_t i) {
    if (!points) return 0;
    return is_signed(dtype) ? static_cast<const int8_t*>(points)[i] : static_cast<const uint8_t*>(points)[i];
  }

  void copy_planes(const Context& c, const Operand& x, uint8_t* copy) const noexcept {
    const int64_t height = x.size[2], width = x.size[3], lines = x.size[0] * height;
    c.team.each(lines, std::max<int64_t>(1, lines / (8 * c.team.count)), [&](int64_t first, int64_t last) {
      for (int64_t line = first; line < last; ++line) {
        const int64_t image = line / height;
        uint8_t* to = copy + line * width * channels_;
        for (int64_t n = 0; n < channels_; ++n) {
          const uint8_t* from = x.as<uint8_t>() + ((image * channels_ + n) * height + line - image * height) * width;
          for (int64_t i = 0; i < width; ++i) to[i * channels_ + n] = from[i];
        }
      }
    });
  }
  template <class T>
  void to_planes(const Context& c, const char* results, int64_t image, int64_t line, int64_t oh, int64_t ow) const noexcept {
    const auto* from = reinterpret_cast<const T*>(results);
    for (int64_t n = 0; n < channels_; ++n) {
      T* to = static_cast<T*>(c.out[0]) + ((image * channels_ + n) * oh + line) * ow;
      for (int64_t i = 0; i < ow; ++i) to[i] = from[i * channels_ + n];
    }
  }

  void prepare(const Context& c, int64_t first, int64_t last, int32_t* w, int32_t* starts, uint8_t* padding) const noexcept {
    const int32_t x_zero = own_point(has_[kXZero] ? operands_.in(kXZero, c).data : nullptr, x_type_, 0);
    const void* zeros = has_[kWZero] ? operands_.in(kWZero, c).data : nullptr;
    const bool each = has_[kWZero] && operands_.in(kWZero, c).count() != 1;
    const void* weights = operands_.in(kW, c).data;
    const auto* bias = has_[kBias] ? operands_.in(kBias, c).as<int32_t>() : nullptr;
    for (int64_t n = first; n < last; ++n) {
      const int32_t zero = own_point(zeros, w_type_, each ? n : 0);
      uint32_t total = 0;
      for (int64_t t = 0; t < taps(); ++t) {
        const int32_t value = own_point(weights, w_type_, n * taps() + t) - zero;
        w[t * row_ + n] = value;
        total += static_cast<uint32_t>(value);
      }
      starts[n] = static_cast<int32_t>((bias ? static_cast<uint32_t>(bias[n]) : 0u) - static_cast<uint32_t>(x_zero) * total);
      padding[n] = static_cast<uint8_t>(x_zero);
    }
  }

  RunOperands operands_;
  bool planes_;
  const TapsI8& kernel_;
  const Linear& linear_;
  SumsEnd end_;
  DType x_type_, w_type_;
  int64_t channels_, kh_, kw_;
  std::vector<int64_t> stride_, pad_, dilation_;
  size_t ports_;
  int64_t row_ = 0, copy_ = 0, line_ = 0;
  bool has_[7];
  ThreadAreas areas_;
};

class DepthwiseInteger : public AnyRoutine {
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
  std::vector<std::string> variants(const Problem&) const override { return ukernel_names(PW_KIND_TAPS_I8); }
  Ports ports(const Problem& p) const override { return preferred(AnyRoutine::ports(p)); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    return std::make_unique<DepthwiseIntegerKernel>(p, constants, images_, variant_ukernel<TapsI8>(PW_KIND_TAPS_I8, variant),
                                                    best_ukernel<Linear>(PW_KIND_LINEAR));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : {Layout::nchw, Layout::nhwc}) c.add<DepthwiseInteger>(layout);
}
}  // namespace PW_COLLECT
}  // namespace pw
