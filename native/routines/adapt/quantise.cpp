// Conversions between f32 and u8, and changes of layout of u8. Where the element type changes too, a piece of an image is
// turned around as floats, in memory of the thread's own that stays in the first cache.
#include <cstring>

#include "ukernels/kinds/quantise_u8.h"
#include "ukernels/kinds/transpose_f32.h"
#include "ukernels/kinds/transpose_u8.h"
#include "values/quantised.h"
#include "values/vector.h"

namespace pw {
namespace {

// How bytes of a value are read. u8 to u8 moves them as they are: as numbers from 0 to 255.
QuantiseU8Args reading(Scale value) {
  QuantiseU8Args a{};
  a.scale = value.scale;
  a.out.zero = value.zero;
  a.out.inverse = 1.0f / a.scale;
  a.out.low = static_cast<float>(-a.out.zero);
  a.out.high = static_cast<float>(255 - a.out.zero);
  return a;
}

class QuantiseKernel : public PieceKernel {
 public:
  QuantiseKernel(const QuantiseU8& kernel, const QuantiseU8Args& args, const Format& source, const Format& target,
                 const Dims& shape)
      : kernel_(kernel), transpose_(best_ukernel<TransposeF32>(PW_KIND_TRANSPOSE_F32)),
        transpose_bytes_(best_ukernel<TransposeU8>(PW_KIND_TRANSPOSE_U8)), args_(args), source_(source),
        target_(target), total_(count(shape)),
        flat_(memory_order(source.layout, shape) == memory_order(target.layout, shape)) {
    if (shape.size() == 4) {
      images_ = shape[0];
      channels_ = shape[1];
      pixels_ = shape[2] * shape[3];
    }
  }

  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    if (flat_) {
      if (in[0] == out[0]) return;
      return in_pieces(team, total_, 1024, total_, [&](int64_t first, int64_t last) {
        convert(in[0], first, last - first, out[0], first, last - first, 1, last - first);
      });
    }
    const bool blocks = source_.layout == Layout::nchw16c || target_.layout == Layout::nchw16c;
    const int64_t width = blocks ? 16 : std::min<int64_t>(64, channels_), groups = (channels_ + width - 1) / width;
    const int64_t length = kPiece / width / 16 * 16, runs = (pixels_ + length - 1) / length;
    in_pieces(team, images_ * groups * runs, 1, total_, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t p = i % runs * length, c = i / runs % groups * width;
        piece(in[0], out[0], i / runs / groups * channels_ * pixels_, p, std::min(length, pixels_ - p), c,
              std::min(width, channels_ - c));
      }
    });
  }

 private:
  static constexpr int64_t kPiece = 2048;  // elements

  // Where a piece of an image lies: its rows are channels of planes, else pixels.
  struct Side {
    int64_t start, row;
    bool planes;
  };
  Side side(Layout layout, int64_t image, int64_t p, int64_t c) const {
    if (layout == Layout::nchw) return {image + c * pixels_ + p, pixels_, true};
    if (layout == Layout::nhwc) return {image + p * channels_ + c, channels_, false};
    return {image + c * pixels_ + p * 16, 16, false};
  }

  // Pixels [p, p + n), channels [c, c + width) of one image.
  void piece(const void* x, void* y, int64_t image, int64_t p, int64_t n, int64_t c, int64_t width) const noexcept {
    const Side from = side(source_.layout, image, p, c), to = side(target_.layout, image, p, c);
    const int64_t rows = from.planes ? width : n, columns = from.planes ? n : width;
    if (from.planes == to.planes) return convert(x, from.start, from.row, y, to.start, to.row, rows, columns);
    if (source_.dtype == target_.dtype)
      return transpose_bytes_.run(static_cast<const uint8_t*>(x) + from.start, from.row,
                                  static_cast<uint8_t*>(y) + to.start, to.row, rows, columns);
    // Rows that lie side by side are one: rows of three channels would be handled element by element.
    const auto joined = [](int64_t count, int64_t size, int64_t row) { return row == size ? count : 1; };
    alignas(64) float before[kPiece], after[kPiece];
    const float* lying = static_cast<const float*>(x) + from.start;
    int64_t row = from.row;
    if (source_.dtype == DType::u8) {
      const int64_t whole = joined(rows, columns, from.row);
      kernel_.dequantise(&args_, static_cast<const uint8_t*>(x) + from.start, from.row, before, columns, rows / whole,
                         columns * whole);
      lying = before;
      row = columns;
    }
    if (target_.dtype == DType::f32)
      return transpose_.run(lying, row, static_cast<float*>(y) + to.start, to.row, rows, columns);
    transpose_.run(lying, row, after, rows, rows, columns);
    const int64_t whole = joined(columns, rows, to.row);
    kernel_.quantise(&args_, after, rows, static_cast<uint8_t*>(y) + to.start, to.row, columns / whole, rows * whole);
  }

  // Rows as they are, in the other element type.
  void convert(const void* x, int64_t x_start, int64_t x_row, void* y, int64_t y_start, int64_t y_row, int64_t rows,
               int64_t columns) const noexcept {
    if (source_.dtype == DType::f32)
      return kernel_.quantise(&args_, static_cast<const float*>(x) + x_start, x_row, static_cast<uint8_t*>(y) + y_start,
                              y_row, rows, columns);
    const auto* bytes = static_cast<const uint8_t*>(x) + x_start;
    if (target_.dtype == DType::f32)
      return kernel_.dequantise(&args_, bytes, x_row, static_cast<float*>(y) + y_start, y_row, rows, columns);
    for (int64_t i = 0; i < rows; ++i)
      std::memcpy(static_cast<uint8_t*>(y) + y_start + i * y_row, bytes + i * x_row, static_cast<size_t>(columns));
  }

  const QuantiseU8& kernel_;
  const TransposeF32& transpose_;
  const TransposeU8& transpose_bytes_;
  QuantiseU8Args args_;
  Format source_, target_;
  int64_t total_, images_ = 1, channels_ = 1, pixels_ = 1;
  bool flat_;
};

class Quantise : public VectorRoutine {
 public:
  Quantise(Format source, Format target)
      : VectorRoutine("adapt", "quantise", source.layout, PW_KIND_QUANTISE_U8), source_(std::move(source)),
        target_(std::move(target)) {
    card_.id = std::string("adapt/quantise:") + pw::text(source_.dtype) + ":" + pw::text(source_.layout) + "-" +
               pw::text(target_.dtype) + ":" + pw::text(target_.layout) + ":cpu";
    card_.accuracy = Accuracy::quantised;
  }
  Verdict accepts(const Problem& p) const override {
    if (p.word("source") != pw::text(source_) || p.word("target") != pw::text(target_))
      return Verdict::no("it goes from " + pw::text(source_) + " to " + pw::text(target_));
    if (p.in[0].dtype != DType::f32 || p.in[0].count() == 0)
      return Verdict::no("it takes f32 values that are not empty");
    for (Layout layout : {source_.layout, target_.layout})
      if (!fits(layout, p.in[0].shape)) return Verdict::no(std::string("the value does not fit ") + pw::text(layout));
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override {
    Ports ports;
    ports.in = {source_};
    ports.out = {target_};
    if (moves() && memory_order(source_.layout, p.in[0].shape) == memory_order(target_.layout, p.in[0].shape))
      ports.share.push_back({0, 0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant,
                                  const Constants& constants) const override {
    const Scale scale = moves() ? Scale{1.0f, 0} : one_scale(constants[0], "the value");
    return std::make_unique<QuantiseKernel>(variant_ukernel<QuantiseU8>(kind_, variant), reading(scale), source_, target_,
                                            p.in[0].shape);
  }

 private:
  bool moves() const { return source_.dtype == target_.dtype; }
  Format source_, target_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout source : kAllLayouts)
    for (Layout target : kAllLayouts) {
      if ((source == Layout::plain) != (target == Layout::plain)) continue;
      c.add<Quantise>(Format{DType::f32, source, "cpu"}, Format{DType::u8, target, "cpu"});
      c.add<Quantise>(Format{DType::u8, source, "cpu"}, Format{DType::f32, target, "cpu"});
      if (source != target) c.add<Quantise>(Format{DType::u8, source, "cpu"}, Format{DType::u8, target, "cpu"});
    }
}
}  // namespace PW_COLLECT

}  // namespace pw
