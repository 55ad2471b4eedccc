// conv2/direct in bf16, bf16x2, bf16x3 and f16: every tap multiplies rows of pixels on a matrix unit; without a padded border
// the rows lie in x itself, else in a padded copy, made block by block.
#include "base/error.h"
#include "products/half.h"

namespace pw {
namespace {

class DirectHalf : public HalfRoutine {
 public:
  explicit DirectHalf(const HalfForms& forms) : HalfRoutine("conv2/direct", Layout::nhwc, Layout::nhwc, forms) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution(p, Layout::nhwc, Layout::nhwc, kind()); !v) return v;
    return has_kernel(p);
  }

  // VARIANT = micro-kernel[/rows][/columns]: kernel rows merged into one tap; threads share the columns.
  std::vector<std::string> variants(const Problem& p) const override {
    const Geometry g(p);
    std::vector<std::string> names;
    for (const auto& kernel : half_variants(forms_.part, forms_.parts, epilogue_act(p))) {
      if (HalfScheme::can_be_in_place(g, forms_)) {
        names.push_back(kernel);
        continue;
      }
      std::vector<std::string> forms{kernel};
      if (HalfScheme::merging_pays(g)) forms.push_back(kernel + kRows);
      for (const auto& form : forms) {
        names.push_back(form);
        if (p.threads > 1 && g.group_outputs() > kHalfColumns) names.push_back(form + kColumns);
      }
    }
    return names;
  }

  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Geometry g(p);
    return half_estimate(g, forms_, variant.find('/') == std::string::npos && HalfScheme::can_be_in_place(g, forms_));
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const Geometry g(p);
    const size_t slash = variant.find('/');
    const std::string form = slash == std::string::npos ? "" : variant.substr(slash);
    if (!form.empty() && form != kRows && form != kColumns && form != std::string(kRows) + kColumns)
      throw Error("variant '" + variant + "': expected MICRO-KERNEL[/rows][/columns]");
    const bool in_place = form.empty() && HalfScheme::can_be_in_place(g, forms_);
    return half_convolution({g, forms_, HalfWeights::of_convolution(c[1], g), {}, bias_of(p, c), *epilogue_activation(p),
                             p.epilogue.add, p.threads},
                            {in_place, form.starts_with(kRows), form.ends_with(kColumns)},
                            half_kernel(forms_.part, variant.substr(0, slash)));
  }

 private:
  static constexpr const char *kRows = "/rows", *kColumns = "/columns";
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { collect_half<DirectHalf>(c, true); }
}  // namespace PW_COLLECT
}  // namespace pw
