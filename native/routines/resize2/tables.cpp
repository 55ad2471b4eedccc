// resize2 nearest and bilinear by tables of source pixels per axis. Source of the coordinates: ONNX Resize.
#include <cmath>
#include <cstring>

#include "routines/vector.h"
#include "ukernels/kinds/resize_f32.h"

namespace pw {
namespace {

// Source pixels of every output pixel along one axis; `weight` is that of `high`.
struct Table {
  std::vector<int64_t> low, high;
  std::vector<float> weight;
};

double position(int64_t o, int64_t out, int64_t length, double scale, std::string_view coordinates) {
  const double i = static_cast<double>(o);
  if (coordinates == "asymmetric") return i / scale;
  if (coordinates == "align_corners")
    return out > 1 ? i * static_cast<double>(length - 1) / static_cast<double>(out - 1) : 0.0;
  if (coordinates == "pytorch_half_pixel" && out == 1) return 0.0;
  return (i + 0.5) / scale - 0.5;
}

double rounded(double x, std::string_view rounding) {
  if (rounding == "floor") return std::floor(x);
  if (rounding == "ceil") return std::ceil(x);
  return rounding == "round_prefer_ceil" ? std::floor(x + 0.5) : std::ceil(x - 0.5);
}

Table table_of(const Problem& p, size_t axis) {
  const int64_t length = p.in[0].shape[2 + axis], out = p.out[0].shape[2 + axis];
  const auto scales = p.numbers("scale");
  const double scale = scales.empty() ? static_cast<double>(out) / static_cast<double>(length)
                                      : scales[scales.size() - 2 + axis];
  auto inside = [&](double i) { return static_cast<int64_t>(std::clamp(i, 0.0, static_cast<double>(length - 1))); };
  Table t;
  for (int64_t o = 0; o < out; ++o) {
    const double at = position(o, out, length, scale, p.word("coordinates"));
    const double low = p.word("mode") == "nearest" ? rounded(at, p.word("rounding")) : std::floor(at);
    t.low.push_back(inside(low));
    t.high.push_back(inside(low + 1));
    t.weight.push_back(static_cast<float>(at - low));
  }
  return t;
}

class ResizeKernel : public PieceKernel {
 public:
  ResizeKernel(const ResizeF32& kernel, const Problem& p, Layout layout)
      : kernel_(kernel), nearest_(p.word("mode") == "nearest"), rows_(table_of(p, 0)), columns_(table_of(p, 1)) {
    const Dims &in = p.in[0].shape, &out = p.out[0].shape;
    channels_ = layout == Layout::nhwc ? in[1] : layout == Layout::nchw16c ? 16 : 1;
    planes_ = in[0] * in[1] / channels_;
    in_rows_ = in[2];
    in_columns_ = in[3];
    out_rows_ = out[2];
    out_columns_ = out[3];
    for (auto* list : {&columns_.low, &columns_.high})
      for (int64_t& i : *list) i *= channels_;
  }
  size_t packed_bytes() const override { return static_cast<size_t>(out_rows_ + out_columns_) * 20; }

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
                               channels_, columns_.low.data(), columns_.high.data(), columns_.weight.data(),
                               rows_.weight[o]};
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
  Table rows_, columns_;  // columns in floats
  int64_t channels_, planes_, in_rows_, in_columns_, out_rows_, out_columns_;
};

class Resize : public VectorRoutine {
 public:
  explicit Resize(Layout layout) : VectorRoutine("resize2", "tables", layout, PW_KIND_RESIZE_F32) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || p.dynamic().size() != 1)
      return Verdict::no("it takes one value and its size as an attribute");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    if (p.word("mode") != "nearest" && p.word("mode") != "bilinear")
      return Verdict::no("its mode is " + std::string(p.word("mode")));
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
