// Bits read as another element type of as many: the bytes stay as they are.
#include <cstring>

#include "values/strided.h"

namespace pw {
namespace {

class BitCastKernel : public AnyKernel {
 public:
  BitCastKernel(const Problem& p, Layout images)
      : AnyKernel(p, Constants(p.in.size()), images), bytes_(static_cast<int64_t>(size_of(p.in[0].dtype))) {}
  int run(const Context& c) noexcept override {
    const int64_t bytes = operands_.out(0, c).count() * bytes_;
    in_pieces(c.team, bytes, 4096, bytes / 4, [&](int64_t first, int64_t last) {
      std::memcpy(static_cast<char*>(c.out[0]) + first, static_cast<const char*>(c.in[0]) + first,
                  static_cast<size_t>(last - first));
    });
    return 0;
  }

 private:
  int64_t bytes_;
};

class BitCast : public AnyRoutine {
 public:
  explicit BitCast(Layout images) : AnyRoutine("bit_cast", "copy", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (p.word("source") != pw::text(p.in[0].dtype) || p.word("dtype") != pw::text(p.out[0].dtype))
      return Verdict::no("a value stands for one of another type");
    if (p.out[0].dtype == DType::boolean && p.in[0].dtype != DType::boolean) return Verdict::no("bytes become truth values");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<BitCastKernel>(p, images_);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : {Layout::nchw, Layout::nhwc}) c.add<BitCast>(images);
}
}  // namespace PW_COLLECT

}  // namespace pw
