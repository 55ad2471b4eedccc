// Elements of any type that are repeated or regrouped: expand, tile, depth_to_space, space_to_depth.
#include "routines/shaping/moves.h"

namespace pw {
namespace {

class ExpandKernel : public MoverKernel {
 public:
  using MoverKernel::MoverKernel;
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), y = operands_.out(0, c);
    Loops<2> loops;
    broadcast_loops<1>(&x, y, loops);
    copy_loops(bytes_, loops, x.data, c.out[0], c.team);
    return 0;
  }
};

class TileKernel : public MoverKernel {
 public:
  TileKernel(const Problem& p, const Constants& constants, Layout images)
      : MoverKernel(p, constants, images), repeats_(p.integers("repeats")) {}
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), y = operands_.out(0, c);
    int64_t from[kMostRank], to[kMostRank];
    steps_of(x, from);
    steps_of(y, to);
    Loops<2> loops;
    for (int i = 0; i < x.rank; ++i) {
      const int axis = axis_in_memory(y.layout, i);
      loops.add(repeats_[static_cast<size_t>(axis)], {0, to[axis] * x.size[axis]});
      loops.add(x.size[axis], {from[axis], to[axis]});
    }
    copy_loops(bytes_, loops, x.data, c.out[0], c.team);
    return 0;
  }

 private:
  std::vector<int64_t> repeats_;
};

// Between channels and blocks of pixels, either way.
class BlocksKernel : public MoverKernel {
 public:
  BlocksKernel(const Problem& p, const Constants& constants, Layout images)
      : MoverKernel(p, constants, images), to_space_(p.kind == "depth_to_space"), outer_(to_space_ && p.word("mode") == "CRD"),
        block_(p.integer("block")) {}
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), y = operands_.out(0, c);
    // `deep` has the blocks among its channels, `wide` among its pixels.
    const Operand &deep = to_space_ ? x : y, &wide = to_space_ ? y : x;
    int64_t d[4] = {}, w[4] = {};
    steps_of(deep, d);
    steps_of(wide, w);
    const int64_t b = block_, channels = wide.size[1];
    // The number of a deep channel: (row in the block, column in the block, channel), the channel first with `outer_`.
    const int64_t row = outer_ ? b : b * channels, column = outer_ ? 1 : channels, channel = outer_ ? b * b : 1;
    Loops<2> loops;
    const auto add = [&](int64_t n, int64_t deep_step, int64_t wide_step) {
      if (to_space_) loops.add(n, {deep_step, wide_step});
      else loops.add(n, {wide_step, deep_step});
    };
    const auto channel_loop = [&] { add(channels, channel * d[1], w[1]); };
    const auto rows_in_block = [&] { add(b, row * d[1], w[2]); };
    const auto columns_in_block = [&] { add(b, column * d[1], w[3]); };
    const bool planar = y.layout == Layout::nchw;
    add(deep.size[0], d[0], w[0]);
    if (to_space_) {
      if (planar) channel_loop();
      add(deep.size[2], d[2], b * w[2]);
      rows_in_block();
      add(deep.size[3], d[3], b * w[3]);
      columns_in_block();
      if (!planar) channel_loop();
    } else {
      const auto pixels = [&] {
        add(deep.size[2], d[2], b * w[2]);
        add(deep.size[3], d[3], b * w[3]);
      };
      if (!planar) pixels();
      rows_in_block();
      columns_in_block();
      channel_loop();
      if (planar) pixels();
    }
    copy_loops(bytes_, loops, x.data, c.out[0], c.team);
    return 0;
  }

 private:
  bool to_space_, outer_;
  int64_t block_;
};

template <class K>
class Repeat : public Mover {
 public:
  Repeat(const std::string& layer, Layout images) : Mover(layer, "loops", images, true) {}
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<K>(p, constants, images_);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout images : kRowsAndNhwc) {
    c.add<Repeat<ExpandKernel>>("expand", images);
    c.add<Repeat<TileKernel>>("tile", images);
    for (const char* layer : {"depth_to_space", "space_to_depth"}) c.add<Repeat<BlocksKernel>>(layer, images);
  }
}
}  // namespace PW_COLLECT

}  // namespace pw
