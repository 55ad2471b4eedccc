// Values of any element type whose bytes stay as they are: reshape, squeeze, unsqueeze, identity, and transposes that only
// rename.
#include "routines/shaping/moves.h"
#include "routines/shaping/view.h"

namespace pw {
namespace {

class ViewKernel : public MoverKernel {
 public:
  ViewKernel(const Problem& p, Layout images) : MoverKernel(p, Constants(p.in.size()), images) {}
  int run(const Context& c) noexcept override {
    const void* x = c.in[0];
    void* y = c.out[0];
    if (x == y) return 0;
    const int64_t bytes = operands_.out(0, c).count() * static_cast<int64_t>(bytes_);
    in_pieces(c.team, bytes, 4096, bytes / 4, [&](int64_t first, int64_t last) {
      std::memcpy(static_cast<char*>(y) + first, static_cast<const char*>(x) + first, static_cast<size_t>(last - first));
    });
    return 0;
  }
};

class View : public AnyRoutine {
 public:
  View(const std::string& layer, Layout images) : AnyRoutine(layer, "view", images) {}
  Verdict accepts(const Problem& p) const override {
    return keeps_order(p, images_, [&](const Tensor& t) {
      if (auto verdict = not_f32(p); !verdict) return verdict;
      if (t.shape.size() == 4 && !fits(images_, t.shape)) return Verdict::no("the value does not fit the layout");
      return basics(p);
    });
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    ports.share.push_back({0, 0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<ViewKernel>(p, images_);
  }
};

// A transpose of rank 4 between two layouts such that the bytes stay where they are.
class Rename : public AnyRoutine {
 public:
  Rename(Layout source, Layout target) : AnyRoutine("transpose", "view", source), target_(target) {
    card_.id = std::string("transpose/view:any:") + pw::text(source) + "-" + pw::text(target) + ":cpu";
  }
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (p.in[0].shape.size() != 4) return Verdict::no("the rank is not 4");
    if (auto verdict = not_f32(p); !verdict) return verdict;
    if (p.in[0].count() == 0 || !only_renames(p, images_, target_)) return Verdict::no("it moves bytes between these layouts");
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    ports.out[0].layout = target_;
    ports.share.push_back({0, 0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<ViewKernel>(p, images_);
  }

 private:
  Layout target_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"reshape", "squeeze", "unsqueeze", "identity"})
    for (Layout images : kRowsAndNhwc) c.add<View>(layer, images);
  for (Layout source : kRowsAndNhwc)
    for (Layout target : kRowsAndNhwc) c.add<Rename>(source, target);
}
}  // namespace PW_COLLECT

}  // namespace pw
