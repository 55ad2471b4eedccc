// Changes between f32 and its stored forms bf16, bf16x2 and f16, in nhwc and plain, and between those and f32 in nchw.
#include "ukernels/kinds/transpose_f32.h"
#include "values/bfloat.h"

namespace pw {
namespace {

struct Ends {
  Format source, target;
  bool widens() const { return target.dtype == DType::f32; }
  DType stored() const { return widens() ? source.dtype : target.dtype; }
  bool planar() const { return source.layout == Layout::nchw || target.layout == Layout::nchw; }
};

class BfloatKernel : public PieceKernel {
 public:
  BfloatKernel(const Ends& ends, const Dims& shape, int threads)
      : transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)), widens_(ends.widens()), planar_(ends.planar()),
        threads_(threads), row_(row_of(ends, shape)), pixels_(count(shape) / row_), images_(planar_ ? shape[0] : 1),
        per_(ends.stored() == DType::bf16x2 ? 2 * row_ : row_),
        convert_(row_, static_cast<int>(per_ / row_), ends.stored() == DType::f16 ? DType::f16 : DType::bf16) {
    pixels_ /= images_;
    grain_ = std::max<int64_t>(1, kFloats / row_);
  }

  // Per thread: a run of rows in floats, and what its conversion needs.
  size_t workspace_bytes() const override { return static_cast<size_t>(threads_ * area()); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    auto* floats = reinterpret_cast<float*>(static_cast<char*>(workspace) + team.index * area());
    auto* scratch = reinterpret_cast<uint16_t*>(floats + grain_ * row_);
    const int64_t runs = (pixels_ + grain_ - 1) / grain_;
    in_pieces(team, images_ * runs, 1, images_ * pixels_ * row_, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t image = i / runs, p = i % runs * grain_, n = std::min(grain_, pixels_ - p);
        const int64_t pixel = image * pixels_ + p, plane = image * pixels_ * row_ + p;
        if (widens_) {
          float* y = static_cast<float*>(out[0]);
          float* to = planar_ ? floats : y + pixel * row_;
          convert_.widen(static_cast<const uint16_t*>(in[0]) + pixel * per_, to, n, scratch);
          if (planar_) transpose_.run(to, row_, y + plane, pixels_, n, row_);
        } else {
          const float* x = static_cast<const float*>(in[0]);
          if (planar_) transpose_.run(x + plane, pixels_, floats, row_, row_, n);
          convert_.narrow(planar_ ? floats : x + pixel * row_, static_cast<uint16_t*>(out[0]) + pixel * per_, n, scratch);
        }
      }
    });
  }

 private:
  static constexpr int64_t kFloats = 4096;

  // Elements of a row: the channels of a pixel, or the last axis.
  static int64_t row_of(const Ends& ends, const Dims& shape) {
    const Dims lies = physical(ends.planar() ? Layout::nhwc : ends.source.layout, shape);
    return lies.empty() ? 1 : lies.back();
  }
  int64_t area() const { return (grain_ * row_ * 4 + convert_.scratch(grain_) * 2 + 63) / 64 * 64; }

  const TransposeF32& transpose_;
  bool widens_, planar_;
  int64_t threads_, row_, pixels_, images_, per_, grain_ = 1;
  BfloatRows convert_;
};

class AdaptBfloat : public Routine {
 public:
  explicit AdaptBfloat(const Ends& ends) : ends_(ends) {
    auto pair = [](const char* a, const char* b) { return std::string(a) == b ? std::string(a) : std::string(a) + "-" + b; };
    const std::string algorithm = ends.stored() == DType::f16 ? "half:" : "bfloat:";
    card_.id = "adapt/" + algorithm + pair(text(ends.source.dtype), text(ends.target.dtype)) + ":" +
               pair(text(ends.source.layout), text(ends.target.layout)) + ":cpu";
    card_.layer = "adapt";
    card_.accuracy = ends.widens() ? Accuracy::strict
                     : ends.stored() == DType::bf16x2 ? Accuracy::f32 : Accuracy::reduced;
  }
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
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (DType stored : {DType::bf16, DType::bf16x2, DType::f16})
    for (Layout layout : {Layout::plain, Layout::nhwc, Layout::nchw}) {
      const Format wide{DType::f32, layout, "cpu"};
      const Format narrow{stored, layout == Layout::plain ? Layout::plain : Layout::nhwc, "cpu"};
      c.add<AdaptBfloat>(Ends{wide, narrow});
      c.add<AdaptBfloat>(Ends{narrow, wide});
    }
}
}  // namespace PW_COLLECT
}  // namespace pw
