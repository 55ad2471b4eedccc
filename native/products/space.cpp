#include "products/space.h"

#include "products/geometry.h"
#include "values/strided.h"

namespace pw {
namespace {

constexpr int64_t kMostPhases = 4096;
constexpr int64_t kFarOutside = -(int64_t{1} << 60);

PhaseAxis transposed_axis(const SpaceGeometry& g, int a, int64_t first) {
  PhaseAxis axis{first, g.stride[a], (g.out[a] - first + g.stride[a] - 1) / g.stride[a], 1, {}, {}};
  for (int64_t k = 0; k < g.kernel[a]; ++k) {
    const int64_t from = first + g.pad[a] - k * g.dilation[a];
    if (from % g.stride[a] != 0) continue;
    axis.taps.push_back(k);
    axis.shifts.push_back(from / g.stride[a]);
  }
  return axis;
}

PhaseAxis forward_axis(const SpaceGeometry& g, int a) {
  PhaseAxis axis{0, 1, g.out[a], g.stride[a], {}, {}};
  for (int64_t k = 0; k < g.kernel[a]; ++k) {
    axis.taps.push_back(k);
    axis.shifts.push_back(k * g.dilation[a] - g.pad[a]);
  }
  return axis;
}

void finish(const SpaceGeometry& g, Phase& phase) {
  for (int a = 0; a < kSpace; ++a) {
    PhaseAxis& axis = phase.axis[a];
    if (axis.taps.empty()) axis.taps = {-1}, axis.shifts = {kFarOutside};
    phase.taps *= static_cast<int64_t>(axis.taps.size());
    phase.pixels *= axis.count;
    phase.low[a] = *std::min_element(axis.shifts.begin(), axis.shifts.end());
    phase.high[a] = *std::max_element(axis.shifts.begin(), axis.shifts.end());
  }
  const auto& [d, h, w] = phase.axis;
  for (size_t i = 0; i < d.taps.size(); ++i)
    for (size_t j = 0; j < h.taps.size(); ++j)
      for (size_t k = 0; k < w.taps.size(); ++k) {
        const bool none = d.taps[i] < 0 || h.taps[j] < 0 || w.taps[k] < 0;
        phase.tap.push_back(none ? -1 : (d.taps[i] * g.kernel[1] + h.taps[j]) * g.kernel[2] + w.taps[k]);
        phase.offset.push_back(none ? 0 : (d.shifts[i] * g.in[1] + h.shifts[j]) * g.in[2] + w.shifts[k]);
      }
}

}  // namespace

SpaceGeometry::SpaceGeometry(const Problem& p) {
  const Dims &x = p.in[0].shape, &w = p.in[1].shape, &y = p.out[0].shape;
  transposed = p.kind.starts_with("conv_transpose");
  images = x[0], inputs = x[1], outputs = y[1];
  groups = p.kind.starts_with("depthwise") ? inputs : p.integer("groups");
  const auto strides = p.integers("stride"), pads = p.integers("pad"), dilations = p.integers("dilation");
  const size_t axes = x.size() - 2, missing = kSpace - axes;
  for (size_t a = 0; a < kSpace; ++a) {
    const bool own = a >= missing;
    const size_t i = own ? a - missing : 0;
    in[a] = own ? x[2 + i] : 1;
    out[a] = own ? y[2 + i] : 1;
    kernel[a] = own ? w[2 + i] : 1;
    stride[a] = own ? strides[i] : 1;
    pad[a] = own ? pads[i] : 0;
    dilation[a] = own ? dilations[i] : 1;
  }
}

std::string SpaceGeometry::text() const {
  std::string text = transposed ? "space/transposed" : "space/forward";
  text += "/" + std::to_string(groups);
  // The phases of one that is not transposed are the same whatever the sizes.
  for (int a = 0; a < kSpace; ++a)
    if (transposed)
      text += "/" + std::to_string(stride[a]) + "," + std::to_string(pad[a]) + "," + std::to_string(dilation[a]) + "," +
              std::to_string(std::min(stride[a], out[a]));
  return text;
}

int64_t phase_count(const SpaceGeometry& g) {
  int64_t count = 1;
  for (int a = 0; a < kSpace; ++a) count = saturated(count, g.transposed ? std::min(g.stride[a], g.out[a]) : 1);
  return count;
}

std::vector<Phase> phases_of(const SpaceGeometry& g) {
  std::vector<Phase> phases;
  int64_t counts[kSpace];
  for (int a = 0; a < kSpace; ++a) counts[a] = g.transposed ? std::min(g.stride[a], g.out[a]) : 1;
  for (int64_t i = 0; i < counts[0]; ++i)
    for (int64_t j = 0; j < counts[1]; ++j)
      for (int64_t k = 0; k < counts[2]; ++k) {
        const int64_t first[kSpace] = {i, j, k};
        Phase phase;
        for (int a = 0; a < kSpace; ++a)
          phase.axis[a] = g.transposed ? transposed_axis(g, a, first[a]) : forward_axis(g, a);
        finish(g, phase);
        phases.push_back(std::move(phase));
      }
  return phases;
}

Verdict accepts_space(const Problem& p, const std::string& applying) {
  if (p.arity() < 2 || p.arity() > 3 || !p.in[0].present || !p.in[1].present) return Verdict::no("it takes x, weights and a bias");
  for (const auto* list : {&p.in, &p.out})
    for (const Tensor& t : *list) {
      if (t.present && t.dtype != DType::f32) return Verdict::no("an element type is not f32");
      if (t.present && t.count() == 0) return Verdict::no("a tensor is empty");
    }
  const size_t rank = p.in[0].shape.size();
  if ((rank != 4 && rank != 5) || p.in[1].shape.size() != rank || p.out[0].shape.size() != rank)
    return Verdict::no("x, the weights and the output are not all of rank 4 or of rank 5");
  if (p.in[0].constant || (p.epilogue.add && p.in.back().constant)) return Verdict::no("x or the residual is a constant");
  const SpaceGeometry g(p);
  if (g.inputs % g.groups != 0 || g.outputs % g.groups != 0) return Verdict::no("channels are no multiple of the groups");
  if (phase_count(g) > kMostPhases) return Verdict::no("its strides make more than " + std::to_string(kMostPhases) + " phases");
  if (g.transposed) {
    double positions = 1;
    for (int a = 0; a < kSpace; ++a) positions *= static_cast<double>(divide_up(g.out[a], g.stride[a]));
    if (Verdict v = taps_meet_image(positions, static_cast<double>(g.in_pixels()), static_cast<double>(g.taps())); !v) return v;
  }
  return applies(applying, p.epilogue);
}

Ports space_ports(const Problem& p) {
  const auto last = [](const Tensor& t) {
    return Format{DType::f32, t.shape.size() == 5 ? Layout::ndhwc : Layout::nhwc, "cpu"};
  };
  Ports ports;
  const auto residual = static_cast<size_t>(p.residual());
  for (int i : p.dynamic()) {
    const Tensor& t = p.in[static_cast<size_t>(i)];
    const bool pixels = i == 0 || static_cast<size_t>(i) == residual;
    ports.in.push_back(pixels ? last(t) : Format{DType::f32, plain_layout(t.shape.size()), "cpu"});
  }
  ports.out.push_back(last(p.out[0]));
  return ports;
}

}  // namespace pw
