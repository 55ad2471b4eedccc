// Micro-kernels are chosen by the activations that their tables state: exit code 0, or a line per failure.
#include <cstdio>

#include "base/cpu.h"
#include "spi/activation.h"

namespace {

constexpr pw::Act kSquare{1}, kCube{2};
constexpr pw::ActivationKind kClipKinds[] = {{.kind = "clip", .parameters = {"min", "max"}}, {.kind = "relu", .b = 9.0f}, {}};
constexpr pw::ActivationKind kSquareKinds[] = {{.kind = "square", .parameters = {"alpha"}, .where = pw::Where::positive}, {}};
constexpr pw::ActivationKind kCubeKinds[] = {{.kind = "cube"}, {}};
constexpr pw::ActivationEntry kAll[] = {{pw::Act::clip, kClipKinds}, {kSquare, kSquareKinds}, {kCube, kCubeKinds}, {pw::Act::clip, nullptr}};
constexpr pw::ActivationEntry kSome[] = {{pw::Act::clip, kClipKinds}, {kSquare, kSquareKinds}, {pw::Act::clip, nullptr}};
constexpr int kBody = 0;
const pw::UKernel kGeneric[] = {{"product", "old", &kBody, kAll}, {"plain", "copy", &kBody}, {nullptr, nullptr, nullptr}};
const pw::UKernel kWide[] = {{"product", "wide", &kBody, kSome}, {"product", "widest", &kBody}, {nullptr, nullptr, nullptr}};

int failures = 0;
void check(bool fine, const char* what) {
  if (!fine) std::printf("%s\n", what), ++failures;
}
pw::Problem own(const char* kind, const char* attributes) {
  return pw::Problem::parse(std::string(kind) + " in=f32:3 out=f32:3" + attributes + " threads=1");
}
bool applies(const char* kind, const char* epilogue) { return bool(pw::applies(kind, pw::Epilogue::parse(epilogue))); }

}  // namespace

namespace pw {
const Cpu& cpu() {
  static const Cpu found = [] {
    Cpu c;
    c.used = {Isa::generic, Isa::avx2};
    return c;
  }();
  return found;
}
const std::vector<UKernelTable>& collected_ukernels() {
  static const std::vector<UKernelTable> tables = {{Isa::generic, kGeneric}, {Isa::avx2, kWide}};
  return tables;
}
}  // namespace pw

int main() {
  using Names = std::vector<std::string>;
  check(pw::ukernel_names("product") == Names{"wide", "widest"}, "without an activation all of the best tier");
  check(pw::ukernel_names("product", kSquare) == Names{"wide"}, "those of the best tier that apply square");
  check(pw::ukernel_names("product", kCube) == Names{"old"}, "cube is applied by a lower tier alone");
  check(pw::ukernel_names("plain", kCube).empty() && pw::ukernel_names("plain") == Names{"copy"}, "one without activations");
  check(applies("product", "cube") && applies("product", "square:2.0"), "product has both");
  check(!applies("plain", "cube"), "plain has no cube");
  check(!applies("product", "tanh"), "nobody has tanh");
  check(!applies("product", "square") && !applies("product", "square:1:2"), "parameters come complete");
  check(!applies("product", "square:-1.0"), "square is not computed for these parameters");
  check(applies("none", "cube"), "a kind without micro-kernels is left to the routine");
  const auto relu = pw::activation("relu", {}), clip = pw::activation("clip", {-1.0f, 6.0f}), none = pw::activation("", {});
  check(relu && relu->act == pw::Act::clip && relu->a == 0.0f && relu->b == 9.0f, "relu has bounds of its own");
  check(clip && clip->a == -1.0f && clip->b == 6.0f, "bounds in the order of the parameters");
  check(none && none->act == pw::Act::clip && none->a == -none->b && none->b > 1e38f, "no activation clamps nothing");
  const auto square = pw::activation(own("square", " alpha=3.0"));
  check(square && square->act == kSquare && square->a == 3.0f, "a layer's attributes by their names");
  check(!pw::activation(own("square", " alpha=0.0")) && !pw::activation(own("tanh", "")), "layers that nobody computes");
  Names kinds;
  for (const auto* kind : pw::activation_kinds("product")) kinds.push_back(kind->kind);
  check(kinds == Names{"clip", "relu", "square", "cube"}, "every kind once");
  return failures;
}
