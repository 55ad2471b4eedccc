// conv2/direct in bf16, bf16x2 and bf16x3: every tap multiplies rows of pixels on a matrix unit; without a padded border
// the rows lie in x itself, else in a padded copy, made block by block.
#include "base/error.h"
#include "routines/bf16.h"

namespace pw {
namespace {

class DirectBf16 : public Bf16Routine {
 public:
  explicit DirectBf16(const Bf16Forms& forms) : Bf16Routine("conv2/direct", Layout::nhwc, Layout::nhwc, forms) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution(p, Layout::nhwc, Layout::nhwc); !v) return v;
    return has_kernel();
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

  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const Geometry g(p);
    const size_t slash = variant.find('/');
    const std::string form = slash == std::string::npos ? "" : variant.substr(slash);
    if (!form.empty() && form != kRows && form != kColumns && form != std::string(kRows) + kColumns)
      throw Error("variant '" + variant + "': expected MICRO-KERNEL[/rows][/columns]");
    const bool in_place = form.empty() && Bf16Scheme::can_be_in_place(g, forms_);
    return bf16_convolution({g, forms_, Bf16Weights::of_convolution(c[1], g), {}, bias_of(p, c), *epilogue_activation(p),
                             p.epilogue.add, p.threads},
                            {in_place, form.starts_with(kRows), form.ends_with(kColumns)},
                            bf16_kernel(variant.substr(0, slash)));
  }

 private:
  static constexpr const char *kRows = "/rows", *kColumns = "/columns";
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { collect_bf16<DirectBf16>(c, true); }
}  // namespace PW_COLLECT
}  // namespace pw
