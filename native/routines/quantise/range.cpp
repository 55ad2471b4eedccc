// dynamic_scale: the range of a value, found in parts, and the scale and zero point of 8 bits that it gives.
#include <cmath>

#include "spi/estimate.h"
#include "ukernels/kinds/linear.h"

#include "values/strided.h"

namespace pw {
namespace {

constexpr int64_t kMostParts = 64;

class RangeKernel : public Kernel {
 public:
  RangeKernel(size_t rank, bool blocks, const Linear& kernel) : rank_(rank), blocks_(blocks), kernel_(kernel) {}
  int64_t phases() const override { return 2; }
  size_t workspace_bytes() const override { return kMostParts * 2 * sizeof(float); }
  bool open(size_t port, size_t axis) const override { return port == 0 && !(blocks_ && axis == 1); }

  int run(const Context& c) noexcept override {
    int64_t count = 1;
    for (size_t i = 0; i < rank_; ++i) count *= c.in_sizes[0][i];
    const int64_t parts = std::clamp<int64_t>(count / 4096, 1, kMostParts);
    auto* found = static_cast<float*>(c.workspace);
    if (c.team.phase == 0) {
      c.team.each(parts, 1, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const int64_t from = count * i / parts, to = count * (i + 1) / parts;
          float low = 0, high = 0;
          kernel_.range(static_cast<const float*>(c.in[0]) + from, to - from, &low, &high);
          found[2 * i] = low, found[2 * i + 1] = high;
        }
      });
      return 0;
    }
    c.team.each(1, 1, [&](int64_t, int64_t) {
      float low = 0, high = 0;
      for (int64_t i = 0; i < parts; ++i) low = std::min(low, found[2 * i]), high = std::max(high, found[2 * i + 1]);
      const float scale = high > low ? (high - low) / 255.0f : 1.0f;
      const float zero = std::nearbyint(-low / scale);
      *static_cast<float*>(c.out[0]) = scale;
      *static_cast<uint8_t*>(c.out[1]) = static_cast<uint8_t>(zero > 0 ? std::min(zero, 255.0f) : 0.0f);
    });
    return 0;
  }

 private:
  size_t rank_;
  bool blocks_;
  const Linear& kernel_;
};

class Range : public AnyRoutine, public Estimating {
 public:
  explicit Range(Layout images) : AnyRoutine("dynamic_scale", "parts", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in[0].dtype != DType::f32) return Verdict::no("the value is not f32");
    if (of_rank(images_, p.in[0].shape.size()) && !fits(images_, p.in[0].shape))
      return Verdict::no("channels are not a multiple of 16");
    return basics(p);
  }
  std::vector<std::string> variants(const Problem&) const override { return ukernel_names(PW_KIND_LINEAR); }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.08); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    return std::make_unique<RangeKernel>(p.in[0].shape.size(), facts(images_).block != 0,
                                         variant_ukernel<Linear>(PW_KIND_LINEAR, variant));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kImageLayouts) c.add<Range>(layout);
}
}  // namespace PW_COLLECT

}  // namespace pw
