// col2im: overlapping blocks of any element type added up, plane by plane.
#include "base/size.h"
#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

constexpr size_t kMostAxes = 8;

struct BlockAxis {
  int64_t length, block, stride, pad, dilation, count;
};

// Sums of integers wrap.
template <class T>
T sum(T a, T b) {
  if constexpr (kFloating<T>) return a + b;
  else return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

template <class T>
class Col2ImKernel : public AnyKernel {
 public:
  Col2ImKernel(const Problem& p, const Constants& constants, std::vector<BlockAxis> axes)
      : AnyKernel(p, constants, Layout::nchw), axes_(std::move(axes)) {
    for (const BlockAxis& a : axes_) volume_ *= a.length, taps_ *= a.block, places_ *= a.count;
  }
  int run(const Context& c) noexcept override {
    const int64_t planes = c.out_sizes[0][0] * c.out_sizes[0][1];
    in_pieces(c.team, planes, 1, 2 * planes * taps_ * places_, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i)
        plane(static_cast<const T*>(c.in[0]) + i * taps_ * places_, static_cast<T*>(c.out[0]) + i * volume_);
    });
    return 0;
  }

 private:
  void plane(const T* x, T* y) const {
    std::fill(y, y + volume_, T{});
    const BlockAxis& last = axes_.back();
    const int64_t rows = places_ / last.count;
    for (int64_t tap = 0; tap < taps_; ++tap) {
      const int64_t across = tap % last.block, start = across * last.dilation - last.pad;
      const int64_t first = start >= 0 ? 0 : (-start + last.stride - 1) / last.stride;
      const int64_t end = last.length <= start ? 0 : std::min(last.count, (last.length - 1 - start) / last.stride + 1);
      for (int64_t row = 0; row < rows && first < end; ++row) {
        const int64_t line = line_of(tap / last.block, row);
        if (line < 0) continue;
        const T* from = x + (tap * rows + row) * last.count;
        T* to = y + line * last.length + start;
        if (last.stride == 1) for (int64_t i = first; i < end; ++i) to[i] = sum(to[i], from[i]);
        else for (int64_t i = first; i < end; ++i) to[i * last.stride] = sum(to[i * last.stride], from[i]);
      }
    }
  }
  // The line of the image that a tap of the outer axes meets at a place; -1 where that lies outside.
  int64_t line_of(int64_t tap, int64_t place) const {
    int64_t line = 0, scale = 1;
    for (size_t a = axes_.size() - 1; a-- > 0;) {
      const BlockAxis& axis = axes_[a];
      const int64_t at = place % axis.count * axis.stride - axis.pad + tap % axis.block * axis.dilation;
      if (at < 0 || at >= axis.length) return -1;
      line += at * scale;
      scale *= axis.length;
      place /= axis.count;
      tap /= axis.block;
    }
    return line;
  }

  std::vector<BlockAxis> axes_;
  int64_t volume_ = 1, taps_ = 1, places_ = 1;
};

std::vector<BlockAxis> axes_of(const Problem& p) {
  const auto image = p.integers("image"), block = p.integers("block");
  const auto given = [&](const char* name) { return p.word(name).empty() ? std::vector<int64_t>() : p.integers(name); };
  const auto strides = given("strides"), pads = given("pads"), dilations = given("dilations");
  std::vector<BlockAxis> axes;
  for (size_t i = 0; i < image.size(); ++i) {
    BlockAxis a{image[i], block[i], strides.empty() ? 1 : strides[i], pads.empty() ? 0 : pads[i],
                dilations.empty() ? 1 : dilations[i], 0};
    const int64_t end = pads.empty() ? 0 : pads[image.size() + i];
    a.count = (a.length + a.pad + end - ((a.block - 1) * a.dilation + 1)) / a.stride + 1;
    axes.push_back(a);
  }
  return axes;
}

class Col2Im : public AnyRoutine {
 public:
  Col2Im() : AnyRoutine("col2im", "planes") {}
  Verdict accepts(const Problem& p) const override {
    if (p.arity() != 1 || p.dynamic().size() != 1) return Verdict::no("it takes one value");
    const DType x = p.in[0].dtype;
    if (x == DType::f16 || x == DType::bf16 || x == DType::boolean) return Verdict::no("the element type is a half or bool");
    if (p.in[0].shape.size() != 3) return Verdict::no("the rank is not 3");
    const auto image = p.integers("image"), block = p.integers("block");
    if (image.empty() || image.size() > kMostAxes || block.size() != image.size()) return Verdict::no("the image has no axis, or too many");
    for (const auto& [name, count] : {std::pair{"strides", image.size()}, {"pads", 2 * image.size()}, {"dilations", image.size()}}) {
      const auto values = p.word(name).empty() ? std::vector<int64_t>() : p.integers(name);
      if (!values.empty() && values.size() != count) return Verdict::no(std::string(name) + " do not fit the image");
      for (int64_t v : values)
        if (v < (std::string_view(name) == "pads" ? 0 : 1) || v > kMostSpan) return Verdict::no(std::string(name) + " are out of range");
    }
    int64_t places = 1, taps = 1;
    for (size_t i = 0; i < image.size(); ++i)
      if (image[i] < 1 || block[i] < 1 || image[i] > kMostSize || block[i] > kMostSize) return Verdict::no("a size is out of range");
    const auto dilations = p.word("dilations").empty() ? std::vector<int64_t>(image.size(), 1) : p.integers("dilations");
    for (size_t i = 0; i < image.size(); ++i)
      if (saturated(block[i], dilations.empty() ? 1 : dilations[i]) > 2 * kMostSpan) return Verdict::no("a block reaches too far");
    for (const BlockAxis& a : axes_of(p)) {
      if (a.count < 1) return Verdict::no("no block fits into the image");
      places = saturated(places, a.count), taps = saturated(taps, a.block);
    }
    if (p.in[0].shape[2] != places || p.in[0].shape[1] % taps != 0) return Verdict::no("the blocks do not fit the image");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return with_type(p.in[0].dtype, [&](auto tag) -> std::unique_ptr<Kernel> {
      using T = typename decltype(tag)::type;
      if constexpr (std::is_arithmetic_v<T>) return std::make_unique<Col2ImKernel<T>>(p, constants, axes_of(p));
      else return nullptr;
    });
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Col2Im>(); }
}  // namespace PW_COLLECT

}  // namespace pw
