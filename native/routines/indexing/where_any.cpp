// where: elements of one of two values of any element type, with NumPy broadcasting.
#include <cstring>

#include "values/strided.h"

namespace pw {
namespace {

// n results; a step is 0 where one element serves all of them, else 1 or what lies between two.
template <class T>
void select(const uint8_t* c, int64_t c_step, const T* a, int64_t a_step, const T* b, int64_t b_step, T* __restrict y,
            int64_t n) noexcept {
  if (c_step == 1 && a_step == 1 && b_step == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? a[i] : b[i];
  } else if (c_step == 1 && a_step == 1 && b_step == 0) {
    for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? a[i] : *b;
  } else if (c_step == 1 && a_step == 0 && b_step == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? *a : b[i];
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = c[i * c_step] ? a[i * a_step] : b[i * b_step];
  }
}

class WhereKernel : public AnyKernel {
 public:
  WhereKernel(const Problem& p, const Constants& constants, Layout images)
      : AnyKernel(p, constants, images), bytes_(size_of(p.out[0].dtype)) {}
  int run(const Context& c) noexcept override {
    const Operand in[3] = {operands_.in(0, c), operands_.in(1, c), operands_.in(2, c)};
    Loops<4> loops;
    broadcast_loops<3>(in, operands_.out(0, c), loops);
    const int64_t zero[4] = {0, 0, 0, 0}, *step = loops.count ? loops.loop[loops.count - 1].step : zero;
    with_bytes(bytes_, [&](auto unit) {
      using T = decltype(unit);
      in_pieces(c.team, loops.total, 1024, loops.total, [&](int64_t first, int64_t last) {
        walk(loops, first, last, [&](const int64_t* at, int64_t n) {
          select(in[0].as<uint8_t>() + at[0], step[0], in[1].as<T>() + at[1], step[1], in[2].as<T>() + at[2], step[2],
                 static_cast<T*>(c.out[0]) + at[3], n);
        });
      });
    });
    return 0;
  }

 private:
  size_t bytes_;
};

class Choose : public AnyRoutine {
 public:
  explicit Choose(Layout images) : AnyRoutine("where", "loops", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 3) return Verdict::no("it takes a condition and two values");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<WhereKernel>(p, constants, images_);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : {Layout::nchw, Layout::nhwc}) c.add<Choose>(images);
}
}  // namespace PW_COLLECT

}  // namespace pw
