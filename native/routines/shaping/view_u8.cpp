// Layers that leave u8 values as they are: reshape, squeeze, unsqueeze, identity, and transposes that only rename. Where
// input and output have different scales the values are rescaled in passing.
#include "routines/shaping/view.h"
#include "spi/estimate.h"
#include "values/vector_u8.h"

namespace pw {
namespace {

// Where both scales are equal nothing is left to do, which problems do not tell.
constexpr double kShare = 0.5;

class ViewU8 : public VectorU8Routine, public Estimating {
 public:
  ViewU8(const std::string& layer, Layout layout) : VectorU8Routine(layer, "view", layout) {}

  Verdict accepts(const Problem& p) const override {
    return keeps_order(p, layout_, [&](const Tensor& t) { return basics(p, t); });
  }
  // A rescaling kernel works in place too.
  Ports ports(const Problem& p) const override {
    Ports ports = VectorU8Routine::ports(p);
    ports.reuse.push_back({0, 0});
    return ports;
  }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(kShare); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<TableU8Kernel>(rescaling(scale_in(constants, 0), scale_out(p, constants)), p.out[0].count());
  }
};

// A transpose of rank 4 between two layouts such that the bytes stay where they are.
class RenameU8 : public VectorU8Routine, public Estimating {
 public:
  RenameU8(Layout source, Layout target) : VectorU8Routine("transpose", "view", source), target_(target) {
    card_.id = std::string("transpose/view:u8:") + pw::text(source) + "-" + pw::text(target) + ":cpu";
  }
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    if (!only_renames(p, layout_, target_)) return Verdict::no("it moves bytes between these layouts");
    return Verdict::ok();
  }
  Ports ports(const Problem&) const override {
    Ports ports;
    ports.in = {{DType::u8, layout_, "cpu"}};
    ports.out = {{DType::u8, target_, "cpu"}};
    ports.reuse.push_back({0, 0});
    return ports;
  }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(kShare); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<TableU8Kernel>(rescaling(scale_in(constants, 0), scale_out(p, constants)), p.out[0].count());
  }

 private:
  Layout target_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"reshape", "squeeze", "unsqueeze", "identity"})
    for (Layout layout : {Layout::plain, Layout::nchw, Layout::nhwc}) c.add<ViewU8>(layer, layout);
  for (Layout source : {Layout::nchw, Layout::nhwc})
    for (Layout target : {Layout::nchw, Layout::nhwc}) c.add<RenameU8>(source, target);
}
}  // namespace PW_COLLECT

}  // namespace pw
