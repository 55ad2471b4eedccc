// Changes between f32 and its stored forms bf16 and bf16x2, in nhwc and plain, and between those and f32 in nchw.
#include <cstring>

#include "routines/vector.h"
#include "ukernels/kinds/convert_bf16.h"
#include "ukernels/kinds/transpose_f32.h"

namespace pw {
namespace {

struct Ends {
  Format source, target;
  bool widens() const { return target.dtype == DType::f32; }
  DType stored() const { return widens() ? source.dtype : target.dtype; }
  bool planar() const { return source.layout == Layout::nchw || target.layout == Layout::nchw; }
};

class BfloatKernel : public Kernel {
 public:
  BfloatKernel(const Ends& ends, const Dims& shape, int threads)
      : convert_(best_ukernel<ConvertBf16>(PW_KIND_CONVERT_BF16)),
        transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)), widens_(ends.widens()),
        halves_(ends.stored() == DType::bf16x2), planar_(ends.planar()), threads_(threads) {
    const Dims lies = physical(ends.planar() ? Layout::nhwc : ends.source.layout, shape);
    row_ = lies.empty() ? 1 : lies.back();
    rows_ = count(shape) / row_;
    images_ = planar_ ? shape[0] : 1;
    grain_ = std::max<int64_t>(1, kFloats / row_);
  }

  // Per thread: a run of rows in floats, and their halves before they are put side by side.
  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * area()); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* stored_in = static_cast<const uint16_t*>(in[0]);
    auto* stored_out = static_cast<uint16_t*>(out[0]);
    const auto* x = static_cast<const float*>(in[0]);
    auto* y = static_cast<float*>(out[0]);
    auto* floats = reinterpret_cast<float*>(static_cast<char*>(workspace) + team.index * area());
    auto* halves = reinterpret_cast<uint16_t*>(floats + grain_ * row_);
    const int64_t pixels = rows_ / images_, runs = (pixels + grain_ - 1) / grain_, per = halves_ ? 2 * row_ : row_;
    const auto [first, last] = part(team, images_ * runs, 1, rows_ * row_);
    for (int64_t i = first; i < last; ++i) {
      const int64_t image = i / runs, p = i % runs * grain_, n = std::min(grain_, pixels - p);
      const int64_t row = image * pixels + p, plane = image * pixels * row_ + p;
      if (widens_) {
        float* to = planar_ ? floats : y + row * row_;
        widen(stored_in + row * per, to, n, halves);
        if (planar_) transpose_.run(to, row_, y + plane, pixels, n, row_);
      } else {
        const float* from = planar_ ? floats : x + row * row_;
        if (planar_) transpose_.run(x + plane, pixels, floats, row_, row_, n);
        narrow(from, stored_out + row * per, n, halves);
      }
    }
  }

 private:
  static constexpr int64_t kFloats = 4096, kShort = 64;

  int64_t area() const { return (grain_ * row_ * 8 + 63) / 64 * 64; }

  // n whole rows. Short ones are converted as one, and their halves moved side by side afterwards.
  void narrow(const float* x, uint16_t* y, int64_t n, uint16_t* halves) const noexcept {
    if (!halves_) return convert_.narrow(x, y, n * row_);
    if (row_ >= kShort) {
      for (int64_t i = 0; i < n; ++i) convert_.split(x + i * row_, y + 2 * i * row_, y + (2 * i + 1) * row_, row_);
      return;
    }
    uint16_t* rest = halves + n * row_;
    convert_.split(x, halves, rest, n * row_);
    for (int64_t i = 0; i < n; ++i, y += 2 * row_)
      for (int64_t c = 0; c < row_; ++c) y[c] = halves[i * row_ + c], y[row_ + c] = rest[i * row_ + c];
  }
  void widen(const uint16_t* x, float* y, int64_t n, uint16_t* halves) const noexcept {
    if (!halves_) return convert_.widen(x, y, n * row_);
    if (row_ >= kShort) {
      for (int64_t i = 0; i < n; ++i) convert_.join(x + 2 * i * row_, x + (2 * i + 1) * row_, y + i * row_, row_);
      return;
    }
    uint16_t* rest = halves + n * row_;
    for (int64_t i = 0; i < n; ++i, x += 2 * row_)
      for (int64_t c = 0; c < row_; ++c) halves[i * row_ + c] = x[c], rest[i * row_ + c] = x[row_ + c];
    convert_.join(halves, rest, y, n * row_);
  }

  const ConvertBf16& convert_;
  const TransposeF32& transpose_;
  bool widens_, halves_, planar_;
  int64_t threads_, row_ = 1, rows_ = 1, images_ = 1, grain_ = 1;
};

class AdaptBfloat : public Routine {
 public:
  explicit AdaptBfloat(const Ends& ends) : ends_(ends) {
    auto pair = [](const char* a, const char* b) { return std::string(a) == b ? std::string(a) : std::string(a) + "-" + b; };
    card_.id = "adapt/bfloat:" + pair(text(ends.source.dtype), text(ends.target.dtype)) + ":" +
               pair(text(ends.source.layout), text(ends.target.layout)) + ":cpu";
    card_.layer = "adapt";
    card_.accuracy = ends.widens() ? Accuracy::strict
                     : ends.stored() == DType::bf16 ? Accuracy::reduced : Accuracy::f32;
  }
  const Card& card() const override { return card_; }
  Verdict accepts(const Problem& p) const override {
    if (p.word("source") != text(ends_.source) || p.word("target") != text(ends_.target))
      return Verdict::no("it goes from " + text(ends_.source) + " to " + text(ends_.target));
    if (p.in[0].dtype != DType::f32 || p.in[0].count() == 0)
      return Verdict::no("it takes f32 values that are not empty");
    for (const Format& f : {ends_.source, ends_.target})
      if (!fits(f.layout, p.in[0].shape)) return Verdict::no(std::string("the value does not fit ") + text(f.layout));
    return Verdict::ok();
  }
  Ports ports(const Problem&) const override { return {{ends_.source}, {ends_.target}, {}, {}}; }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<BfloatKernel>(ends_, p.in[0].shape, p.threads);
  }

 private:
  Ends ends_;
  Card card_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (DType stored : {DType::bf16, DType::bf16x2})
    for (Layout layout : {Layout::plain, Layout::nhwc, Layout::nchw}) {
      const Format wide{DType::f32, layout, "cpu"};
      const Format narrow{stored, layout == Layout::plain ? Layout::plain : Layout::nhwc, "cpu"};
      c.add<AdaptBfloat>(Ends{wide, narrow});
      c.add<AdaptBfloat>(Ends{narrow, wide});
    }
}
}  // namespace PW_COLLECT
}  // namespace pw
