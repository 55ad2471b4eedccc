// quantize_linear and dequantize_linear: rows of elements that have one scale, or one each.
#include "spi/estimate.h"
#include "ukernels/kinds/linear.h"

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

int32_t point(DType dtype, const void* points, int64_t i) {
  switch (dtype) {
    case DType::u8: return static_cast<const uint8_t*>(points)[i];
    case DType::i8: return static_cast<const int8_t*>(points)[i];
    case DType::u16: return static_cast<const uint16_t*>(points)[i];
    default: return static_cast<const int16_t*>(points)[i];
  }
}

Stored8 stored(DType dtype) {
  switch (dtype) {
    case DType::u8: return Stored8::u8;
    case DType::i8: return Stored8::i8;
    case DType::u16: return Stored8::u16;
    case DType::i16: return Stored8::i16;
    default: return Stored8::i32;
  }
}

class LinearKernel : public AnyKernel {
 public:
  LinearKernel(const Problem& p, const Constants& constants, Layout images, const Linear& kernel)
      : AnyKernel(p, constants, images), kernel_(kernel), quantises_(p.kind == "quantize_linear"),
        integers_(quantises_ ? p.out[0].dtype : p.in[0].dtype), axis_(static_cast<int>(p.integer("axis"))),
        block_(p.integer("block")), has_zero_(p.has(2)), width_(static_cast<int32_t>(size_of(integers_))) {
    if (axis_ < 0) axis_ += static_cast<int>(p.in[0].shape.size());
    if (!quantises_) return;
    const int64_t bits = p.integer("bits") ? p.integer("bits") : 8 * width_;
    const bool sign = integers_ == DType::i8 || integers_ == DType::i16;
    low_ = sign ? -(1 << (bits - 1)) : 0;
    high_ = (1 << (sign ? bits - 1 : bits)) - 1;
    const auto through = p.word("through");
    drop_ = through == "f16" ? 13 : through == "bf16" ? 16 : 0;
  }

  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), scale = operands_.in(1, c);
    const void* zeros = has_zero_ ? operands_.in(2, c).data : nullptr;
    const auto* scales = scale.as<float>();
    const int64_t count = x.count();
    if (count == 0) return 0;
    const auto row = [&](int64_t at, int64_t n, int64_t first, bool each) {
      this->row(x.data, c.out[0], scales + first, zeros, at, n, first, each);
    };
    if (scale.count() == 1 && block_ == 0) {
      in_pieces(c.team, count, 1024, count, [&](int64_t first, int64_t last) { row(first, last - first, 0, false); });
      return 0;
    }
    // Memory as outer x length x inner, `length` along the axis.
    int64_t outer = 1, inner = 1;
    const int64_t length = x.size[axis_];
    bool behind = false;
    for (int i = 0; i < x.rank; ++i) {
      const int axis = axis_in_memory(x.layout, i);
      if (axis == axis_) behind = true;
      else (behind ? inner : outer) *= x.size[axis];
    }
    if (block_ == 0) {
      if (inner == 1)
        in_pieces(c.team, outer, std::max<int64_t>(1, 1024 / length), count, [&](int64_t first, int64_t last) {
          for (int64_t o = first; o < last; ++o) row(o * length, length, 0, true);
        });
      else
        in_pieces(c.team, outer * length, std::max<int64_t>(1, 1024 / inner), count, [&](int64_t first, int64_t last) {
          for (int64_t r = first; r < last; ++r) row(r * inner, inner, r % length, false);
        });
      return 0;
    }
    const int64_t blocks = (length + block_ - 1) / block_;
    if (inner == 1)
      in_pieces(c.team, outer * blocks, std::max<int64_t>(1, 1024 / block_), count, [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r) {
          const int64_t o = r / blocks, d = (r - o * blocks) * block_;
          row(o * length + d, std::min(block_, length - d), r, false);
        }
      });
    else
      in_pieces(c.team, outer * length, std::max<int64_t>(1, 1024 / inner), count, [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r) {
          const int64_t o = r / length, d = r - o * length;
          row(r * inner, inner, (o * blocks + d / block_) * inner, true);
        }
      });
    return 0;
  }

 private:
  // n elements from `at` on, whose scales begin with `scale` and zero points with number `first`.
  void row(const void* x, void* y, const float* scale, const void* zeros, int64_t at, int64_t n, int64_t first,
           bool each) const noexcept {
    constexpr int64_t kChunk = 256;
    int32_t points[kChunk] = {};
    if (!each && zeros) points[0] = point(integers_, zeros, first);
    for (int64_t i = 0; i < n;) {
      const int64_t some = each ? std::min(kChunk, n - i) : n;
      if (each && zeros)
        for (int64_t k = 0; k < some; ++k) points[k] = point(integers_, zeros, first + i + k);
      const LinearArgs args{each ? scale + i : scale, points, each, low_, high_, drop_};
      if (quantises_)
        kernel_.quantise(&args, static_cast<const float*>(x) + at + i, static_cast<char*>(y) + (at + i) * width_, width_, some);
      else
        kernel_.dequantise(&args, static_cast<const char*>(x) + (at + i) * width_, stored(integers_),
                           static_cast<float*>(y) + at + i, some);
      i += some;
    }
  }

  const Linear& kernel_;
  bool quantises_;
  DType integers_;
  int axis_;
  int64_t block_;
  bool has_zero_;
  int32_t width_, low_ = 0, high_ = 0, drop_ = 0;
};

class LinearRows : public AnyRoutine, public Estimating {
 public:
  LinearRows(const std::string& layer, Layout images) : AnyRoutine(layer, "rows", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (!p.in[1].present) return Verdict::no("there is no scale");
    if (!p.in[0].present || p.in[0].constant) return Verdict::no("the value is a constant");
    if (p.has(2) && p.in[2].dtype == DType::i32) return Verdict::no("a zero point of i32");
    const int64_t block = p.integer("block");
    if (!facts(images_).row_major()) {
      if (block) return Verdict::no("blocks have scales in the order of rows");
      if (facts(images_).block && p.in[1].count() != 1) return Verdict::no("a scale per channel, and channels lie in blocks");
    }
    if (block) {
      int64_t blocks = 1;
      const int64_t rank = static_cast<int64_t>(p.in[0].shape.size()), axis = (p.integer("axis") + rank) % std::max<int64_t>(rank, 1);
      for (int64_t i = 0; i < rank; ++i) {
        const int64_t d = p.in[0].shape[static_cast<size_t>(i)];
        blocks *= i == axis ? (d + block - 1) / block : d;
      }
      if (p.in[1].count() != blocks) return Verdict::no("a scale that is spread along an axis");
    }
    for (int i : {0})
      if (of_rank(images_, p.in[static_cast<size_t>(i)].shape.size()) && !fits(images_, p.in[0].shape))
        return Verdict::no("channels are not a multiple of 16");
    return basics(p);
  }
  std::vector<std::string> variants(const Problem&) const override { return ukernel_names(PW_KIND_LINEAR); }
  Estimate estimate(const Problem& p, const std::string&) const override {
    return Estimate::at(p.in[0].dtype == DType::f32 ? 0.04 : 0.08);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    return std::make_unique<LinearKernel>(p, constants, images_, variant_ukernel<Linear>(PW_KIND_LINEAR, variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"quantize_linear", "dequantize_linear"})
    for (Layout layout : kImageLayouts) c.add<LinearRows>(layer, layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
