// dense/gemm in bf16 and bf16x2 on a matrix unit: a 1x1 convolution whose pixels are the rows of x.
#include "routines/bf16.h"
#include "routines/dense/dense.h"

namespace pw {
namespace {

// x as one image of `rows` pixels in one column.
Geometry as_image(const DenseShape& s) {
  Geometry g;
  g.images = 1, g.inputs = s.depth, g.height = s.rows, g.width = 1;
  g.outputs = s.columns, g.kernel_height = g.kernel_width = 1;
  g.out_height = s.rows, g.out_width = 1;
  g.stride_y = g.stride_x = g.dilation_y = g.dilation_x = g.groups = 1;
  g.pad_top = g.pad_left = 0;
  return g;
}

class DenseBf16 : public Routine {
 public:
  DenseBf16(const Bf16Forms& forms, const char* id) : forms_(forms) {
    card_.id = id;
    card_.layer = "dense";
    card_.accuracy = forms.product == DType::bf16 ? Accuracy::reduced : Accuracy::f32;
    card_.takes_epilogue = true;
    card_.requires_ = "avx512_bf16";  // a machine with AMX has it too
  }
  const Card& card() const override { return card_; }
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_dense(p); !v) return v;
    if (p.in[0].shape.size() == 4) return Verdict::no("x has rank 4, whose rows are not whole in every layout");
    if (bf16_variants().empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem&) const override { return bf16_variants(); }
  Ports ports(const Problem& p) const override {
    Ports ports = uniform_ports(p, Layout::nchw, forms_.out);
    ports.in[0].dtype = forms_.in;
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const Geometry g = as_image(DenseShape(p));
    const bool in_place = Bf16Scheme::can_be_in_place(g, forms_);
    return bf16_convolution(g, forms_, c[1], bias_of(p, c), *epilogue_activation(p), p.epilogue.add, p.threads,
                            {in_place, false, !in_place}, bf16_kernel(variant));
  }

 private:
  Bf16Forms forms_;
  Card card_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  constexpr DType f32 = DType::f32, bf16 = DType::bf16, bf16x2 = DType::bf16x2;
  c.add<DenseBf16>(Bf16Forms{bf16x2, bf16x2, bf16x2}, "dense/gemm:bf16x2:plain:cpu");
  c.add<DenseBf16>(Bf16Forms{bf16x2, f32, f32}, "dense/gemm_in_f32:bf16x2:plain:cpu");
  c.add<DenseBf16>(Bf16Forms{bf16, bf16, bf16}, "dense/gemm:bf16:plain:cpu");
  c.add<DenseBf16>(Bf16Forms{bf16, f32, f32}, "dense/gemm_in_f32:bf16:plain:cpu");
}
}  // namespace PW_COLLECT
}  // namespace pw
