// Layers that leave the bytes as they are: reshape, squeeze, unsqueeze, identity, and transposes that only rename.
#include <cstring>

#include "routines/shaping/view.h"

namespace pw {
namespace {

class ViewKernel : public PieceKernel {
 public:
  ViewKernel(const Problem& p, DType dtype, OpenAxes open)
      : rank_(p.out[0].shape.size()), bytes_(static_cast<int64_t>(size_of(dtype))), open_(std::move(open)) {}
  bool open(size_t port, size_t axis) const override { return open_(port, axis); }
  int run(const Context& c) noexcept override {
    const void* x = c.in[0];
    void* y = c.out[0];
    if (x == y) return 0;
    int64_t bytes = bytes_;
    for (size_t i = 0; i < rank_; ++i) bytes *= c.out_sizes[0][i];
    in_pieces(c.team, bytes, 4096, bytes / 4, [&](int64_t first, int64_t last) {
      std::memcpy(static_cast<char*>(y) + first, static_cast<const char*>(x) + first, static_cast<size_t>(last - first));
    });
    return 0;
  }

 private:
  size_t rank_;
  int64_t bytes_;  // of an element
  OpenAxes open_;
};

class View : public VectorRoutine {
 public:
  View(const std::string& layer, Layout layout, DType dtype) : VectorRoutine(layer, "view", layout, "", false, dtype) {}

  Verdict accepts(const Problem& p) const override {
    return keeps_order(p, layout_, [&](const Tensor& t) { return basics(p, t); });
  }
  Ports ports(const Problem& p) const override {
    Ports ports = VectorRoutine::ports(p);
    ports.share.push_back({0, 0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<ViewKernel>(p, dtype_, ports(p));
  }
};

// A transpose of rank 4 between two layouts such that the bytes stay where they are.
class Rename : public VectorRoutine {
 public:
  Rename(Layout source, Layout target) : VectorRoutine("transpose", "view", source), target_(target) {
    card_.id = std::string("transpose/view:f32:") + pw::text(source) + "-" + pw::text(target) + ":cpu";
  }
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    if (!fits(target_, p.out[0].shape)) return Verdict::no("the output does not fit its layout");
    if (!only_renames(p, layout_, target_)) return Verdict::no("it moves bytes between these layouts");
    return Verdict::ok();
  }
  Ports ports(const Problem&) const override {
    Ports ports;
    ports.in = {{DType::f32, layout_, "cpu"}};
    ports.out = {{DType::f32, target_, "cpu"}};
    ports.share.push_back({0, 0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<ViewKernel>(p, DType::f32, ports(p));
  }

 private:
  Layout target_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"reshape", "squeeze", "unsqueeze", "identity"}) {
    for (Layout layout : kAllLayouts) c.add<View>(layer, layout, DType::f32);
    for (Layout layout : kNarrowLayouts)
      for (DType half : {DType::bf16, DType::f16}) c.add<View>(layer, layout, half);
  }
  for (const auto& [source, target] : {std::pair{Layout::nchw, Layout::nhwc}, {Layout::nhwc, Layout::nchw},
                                       {Layout::nhwc, Layout::nhwc}, {Layout::nchw, Layout::nchw}})
    c.add<Rename>(source, target);
}
}  // namespace PW_COLLECT

}  // namespace pw
