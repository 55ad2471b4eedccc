// resize2 nearest and bilinear by tables of source pixels per axis.
#include <cstring>

#include "routines/resize2/tables.h"
#include "ukernels/kinds/resize_f32.h"
#include "values/vector.h"

namespace pw {
namespace {

class ResizeKernel : public PieceKernel {
 public:
  ResizeKernel(const ResizeF32& kernel, const Problem& p, Layout layout)
      : kernel_(kernel), nearest_(p.word("mode") == "nearest"), rows_(resize_table(p, 0)), columns_(resize_table(p, 1)),
        weights_(columns_.weight.begin(), columns_.weight.end()) {
    const Dims &in = p.in[0].shape, &out = p.out[0].shape;
    channels_ = layout == Layout::nhwc ? in[1] : layout == Layout::nchw16c ? 16 : 1;
    planes_ = in[0] * in[1] / channels_;
    in_rows_ = in[2];
    in_columns_ = in[3];
    out_rows_ = out[2];
    out_columns_ = out[3];
    columns_.widen(channels_);
  }
  size_t packed_bytes() const override { return static_cast<size_t>(out_rows_ * 24 + out_columns_ * 28); }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const int64_t length = out_columns_ * channels_, rows = planes_ * out_rows_;
    in_pieces(team, rows, 1, rows * length, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const float* plane = static_cast<const float*>(in[0]) + i / out_rows_ * in_rows_ * in_columns_ * channels_;
        one_row(plane, static_cast<float*>(out[0]) + i * length, static_cast<size_t>(i % out_rows_), i > first);
      }
    });
  }

 private:
  void one_row(const float* plane, float* y, size_t o, bool previous) const noexcept {
    const int64_t in_length = in_columns_ * channels_, length = out_columns_ * channels_;
    if (!nearest_) {
      const ResizeF32Args args{plane + rows_.low[o] * in_length, plane + rows_.high[o] * in_length, y, out_columns_,
                               channels_, columns_.low.data(), columns_.high.data(), weights_.data(),
                               static_cast<float>(rows_.weight[o])};
      return kernel_.bilinear(&args);
    }
    // The row above is this one again where both have the same source.
    if (previous && o > 0 && rows_.low[o] == rows_.low[o - 1]) {
      std::memcpy(y, y - length, static_cast<size_t>(length) * 4);
      return;
    }
    const float* x = plane + rows_.low[o] * in_length;
    const int64_t* at = columns_.low.data();
    if (channels_ == 1)
      for (int64_t i = 0; i < out_columns_; ++i) y[i] = x[at[i]];
    else if (channels_ == 16)
      for (int64_t i = 0; i < out_columns_; ++i) std::memcpy(y + i * 16, x + at[i], 64);
    else
      for (int64_t i = 0; i < out_columns_; ++i)
        std::memcpy(y + i * channels_, x + at[i], static_cast<size_t>(channels_) * 4);
  }

  const ResizeF32& kernel_;
  bool nearest_;
  ResizeTable rows_, columns_;  // columns in floats
  std::vector<float> weights_;  // of columns
  int64_t channels_, planes_, in_rows_, in_columns_, out_rows_, out_columns_;
};

class Resize : public VectorRoutine {
 public:
  explicit Resize(Layout layout) : VectorRoutine("resize2", "tables", layout, PW_KIND_RESIZE_F32) {}
  Verdict accepts(const Problem& p) const override {
    if (auto verdict = accepts_resize(p); !verdict) return verdict;
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    return Verdict::ok();
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<ResizeKernel>(variant_ukernel<ResizeF32>(kind_, variant), p, layout_);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kImageLayouts) c.add<Resize>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
