// Convolutions in f64, over two and three axes, either way: each weight times a line of the input.
#include "products/space.h"
#include "values/strided.h"

namespace pw {
namespace {

class LoopsKernel : public AnyKernel {
 public:
  LoopsKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), g_(p), phases_(phases_of(g_)), has_bias_(p.arity() > 2 && p.has(2)) {}
  bool open(size_t, size_t) const override { return false; }

  int run(const Context& c) noexcept override {
    const auto* x = operands_.in(0, c).as<double>();
    const auto* w = operands_.in(1, c).as<double>();
    const double* bias = has_bias_ ? operands_.in(2, c).as<double>() : nullptr;
    auto* y = static_cast<double*>(c.out[0]);
    const int64_t planes = g_.images * g_.outputs, pixels = g_.out_pixels();
    const int64_t work = planes * pixels * g_.group_inputs() * g_.taps();
    in_pieces(c.team, planes, 1, work, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t image = i / g_.outputs, output = i % g_.outputs;
        double* plane = y + i * pixels;
        std::fill(plane, plane + pixels, bias ? bias[output] : 0.0);
        for (const Phase& phase : phases_) add(phase, x + image * g_.inputs * g_.in_pixels(), w, output, plane);
      }
    });
    return 0;
  }

 private:
  void add(const Phase& phase, const double* x, const double* w, int64_t output, double* y) const {
    const int64_t group = output / g_.group_outputs(), inputs = g_.group_inputs();
    const auto &[d, h, v] = phase.axis;
    for (int64_t c = 0; c < inputs; ++c) {
      const double* plane = x + (group * inputs + c) * g_.in_pixels();
      size_t t = 0;
      for (int64_t s0 : d.shifts)
        for (int64_t s1 : h.shifts)
          for (int64_t s2 : v.shifts) {
            const int64_t tap = phase.tap[t++];
            if (tap < 0) continue;
            const double weight = w[g_.weight(group, output % g_.group_outputs(), c, tap)];
            for (int64_t i = 0; i < d.count; ++i) {
              const int64_t z = i * d.pace + s0;
              if (z < 0 || z >= g_.in[0]) continue;
              for (int64_t j = 0; j < h.count; ++j) {
                const int64_t line = j * h.pace + s1;
                if (line < 0 || line >= g_.in[1]) continue;
                const double* from = plane + (z * g_.in[1] + line) * g_.in[2];
                double* to = y + ((d.first + i * d.step) * g_.out[1] + h.first + j * h.step) * g_.out[2] + v.first;
                const int64_t begin = s2 >= 0 ? 0 : (-s2 + v.pace - 1) / v.pace;
                const int64_t end = g_.in[2] <= s2 ? 0 : std::min(v.count, (g_.in[2] - 1 - s2) / v.pace + 1);
                if (v.pace == 1 && v.step == 1) for (int64_t k = begin; k < end; ++k) to[k] += weight * from[k + s2];
                else for (int64_t k = begin; k < end; ++k) to[k * v.step] += weight * from[k * v.pace + s2];
              }
            }
          }
    }
  }

  SpaceGeometry g_;
  std::vector<Phase> phases_;
  bool has_bias_;
};

class Plain : public AnyRoutine {
 public:
  explicit Plain(const std::string& layer) : AnyRoutine(layer, "loops") {}
  Verdict accepts(const Problem& p) const override {
    if (p.arity() < 2 || p.in[0].dtype != DType::f64) return Verdict::no("the element type is not f64");
    const size_t rank = p.in[0].shape.size();
    if ((rank != 4 && rank != 5) || p.in[1].shape.size() != rank) return Verdict::no("the rank is neither 4 nor 5");
    if (p.in[0].count() == 0 || p.out[0].count() == 0) return Verdict::no("a tensor is empty");
    const SpaceGeometry g(p);
    if (g.inputs % g.groups != 0 || g.outputs % g.groups != 0) return Verdict::no("channels are no multiple of the groups");
    if (phase_count(g) > 4096) return Verdict::no("its strides make more than 4096 phases");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<LoopsKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"conv2", "depthwise_conv2", "conv3", "conv_transpose2", "conv_transpose3"}) c.add<Plain>(layer);
}
}  // namespace PW_COLLECT

}  // namespace pw
