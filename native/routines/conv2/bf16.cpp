// conv2/direct in bf16 and bf16x2, x and y in that form or in f32: every tap multiplies rows of pixels on a matrix unit; without a padded border the rows
// lie in x itself, else in a padded copy, made block by block.
#include "base/error.h"
#include "routines/bf16.h"

namespace pw {
namespace {

class DirectBf16 : public Routine {
 public:
  DirectBf16(const Bf16Forms& forms, const char* id) : forms_(forms) {
    card_.id = id;
    card_.layer = "conv2";
    card_.accuracy = forms.product == DType::bf16 ? Accuracy::reduced : Accuracy::f32;
    card_.takes_epilogue = true;
    card_.requires_ = "avx512_bf16";  // a machine with AMX has it too
  }
  const Card& card() const override { return card_; }
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution(p, Layout::nhwc, Layout::nhwc); !v) return v;
    if (bf16_variants().empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }

  // VARIANT = micro-kernel[/rows][/columns]: kernel rows merged into one tap; threads share the columns.
  std::vector<std::string> variants(const Problem& p) const override {
    const Geometry g(p);
    std::vector<std::string> names;
    for (const auto& kernel : bf16_variants()) {
      if (Bf16Scheme::can_be_in_place(g, forms_)) {
        names.push_back(kernel);
        continue;
      }
      std::vector<std::string> forms{kernel};
      if (Bf16Scheme::merging_pays(g)) forms.push_back(kernel + kRows);
      for (const auto& form : forms) {
        names.push_back(form);
        if (p.threads > 1 && g.group_outputs() > kBf16Columns) names.push_back(form + kColumns);
      }
    }
    return names;
  }

  Ports ports(const Problem& p) const override {
    Ports ports = uniform_ports(p, Layout::nhwc, forms_.out);
    ports.in[0].dtype = forms_.in;
    return ports;
  }

  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const Geometry g(p);
    const size_t slash = variant.find('/');
    const std::string form = slash == std::string::npos ? "" : variant.substr(slash);
    if (!form.empty() && form != kRows && form != kColumns && form != std::string(kRows) + kColumns)
      throw Error("variant '" + variant + "': expected MICRO-KERNEL[/rows][/columns]");
    const bool in_place = form.empty() && Bf16Scheme::can_be_in_place(g, forms_);
    return bf16_convolution(g, forms_, c[1], bias_of(p, c), *epilogue_activation(p), p.epilogue.add, p.threads,
                            {in_place, form.starts_with(kRows), form.ends_with(kColumns)},
                            bf16_kernel(variant.substr(0, slash)));
  }

 private:
  static constexpr const char *kRows = "/rows", *kColumns = "/columns";
  Bf16Forms forms_;
  Card card_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  constexpr DType f32 = DType::f32, bf16 = DType::bf16, bf16x2 = DType::bf16x2;
  c.add<DirectBf16>(Bf16Forms{bf16x2, bf16x2, bf16x2}, "conv2/direct:bf16x2:nhwc:cpu");
  c.add<DirectBf16>(Bf16Forms{bf16x2, f32, bf16x2}, "conv2/direct_from_f32:bf16x2:nhwc:cpu");
  c.add<DirectBf16>(Bf16Forms{bf16x2, bf16x2, f32}, "conv2/direct_to_f32:bf16x2:nhwc:cpu");
  c.add<DirectBf16>(Bf16Forms{bf16x2, f32, f32}, "conv2/direct_in_f32:bf16x2:nhwc:cpu");
  c.add<DirectBf16>(Bf16Forms{bf16, bf16, bf16}, "conv2/direct:bf16:nhwc:cpu");
  c.add<DirectBf16>(Bf16Forms{bf16, f32, bf16}, "conv2/direct_from_f32:bf16:nhwc:cpu");
  c.add<DirectBf16>(Bf16Forms{bf16, bf16, f32}, "conv2/direct_to_f32:bf16:nhwc:cpu");
  c.add<DirectBf16>(Bf16Forms{bf16, f32, f32}, "conv2/direct_in_f32:bf16:nhwc:cpu");
}
}  // namespace PW_COLLECT
}  // namespace pw
