// resize2 nearest and bilinear of u8 values, channels last. What is between two values of one scale has that scale, and
// weights add up to 1, so that zero points take no part. Where input and output have different scales rows are rescaled.
#include <cstring>

#include "products/matrix.h"
#include "routines/resize2/tables.h"
#include "spi/estimate.h"
#include "ukernels/kinds/resize_u8.h"
#include "values/vector_u8.h"

namespace pw {
namespace {

// A weight in steps of 2^-15.
int16_t fixed(double weight) { return static_cast<int16_t>(std::min(std::floor(weight * 32768.0 + 0.5), 32767.0)); }

class ResizeU8Kernel : public PieceKernel {
 public:
  ResizeU8Kernel(const ResizeU8& kernel, const Problem& p, ByteTable table)
      : kernel_(kernel), nearest_(p.word("mode") == "nearest"), rows_(resize_table(p, 0)), columns_(resize_table(p, 1)),
        table_(std::move(table)), images_(p.in[0].shape[0]), channels_(p.in[0].shape[1]), in_rows_(p.in[0].shape[2]),
        in_columns_(p.in[0].shape[3]), out_rows_(p.out[0].shape[2]), out_columns_(p.out[0].shape[3]) {
    columns_.widen(channels_);
    for (double w : columns_.weight) weights_.push_back(fixed(w));
    areas_ = {nearest_ ? 0 : round_up((in_columns_ * channels_ + 8) * 2, 64), p.threads};
  }
  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override {
    return static_cast<size_t>(out_rows_ * 24 + out_columns_ * 26) + table_.bytes();
  }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    auto* scratch = areas_.own<int16_t>(workspace, team);
    const int64_t length = out_columns_ * channels_, rows = images_ * out_rows_;
    in_pieces(team, rows, 1, rows * length / (nearest_ ? 4 : 1), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const auto* image = static_cast<const uint8_t*>(in[0]) + i / out_rows_ * in_rows_ * in_columns_ * channels_;
        one_row(image, static_cast<uint8_t*>(out[0]) + i * length, static_cast<size_t>(i % out_rows_), i > first,
                scratch);
      }
    });
  }

 private:
  void one_row(const uint8_t* image, uint8_t* y, size_t o, bool previous, int16_t* scratch) const noexcept {
    const int64_t in_length = in_columns_ * channels_, length = out_columns_ * channels_;
    const uint8_t* above = image + rows_.low[o] * in_length;
    if (!nearest_) {
      const ResizeU8Args args{above, image + rows_.high[o] * in_length, scratch, in_length, y, out_columns_, channels_,
                              columns_.low.data(), columns_.high.data(), weights_.data(), fixed(rows_.weight[o])};
      kernel_.bilinear(&args);
    } else if (previous && o > 0 && rows_.low[o] == rows_.low[o - 1]) {
      // The row above is this one again.
      std::memcpy(y, y - length, static_cast<size_t>(length));
      return;
    } else {
      kernel_.nearest(above, columns_.low.data(), y, out_columns_, channels_);
    }
    table_.apply(y, y, length);
  }

  const ResizeU8& kernel_;
  bool nearest_;
  ResizeTable rows_, columns_;          // columns in bytes
  std::vector<int16_t> weights_;  // of columns
  ByteTable table_;
  ThreadAreas areas_;
  int64_t images_, channels_, in_rows_, in_columns_, out_rows_, out_columns_;
};

class ResizeU8Routine : public VectorU8Routine, public Estimating {
 public:
  ResizeU8Routine() : VectorU8Routine("resize2", "tables", Layout::nhwc, PW_KIND_RESIZE_U8) {}
  Verdict accepts(const Problem& p) const override {
    if (auto verdict = accepts_resize(p); !verdict) return verdict;
    return basics(p, p.in[0]);
  }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.2); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant,
                                  const Constants& constants) const override {
    return std::make_unique<ResizeU8Kernel>(variant_ukernel<ResizeU8>(kind_, variant), p,
                                            rescaling(scale_in(constants, 0), scale_out(p, constants)));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<ResizeU8Routine>(); }
}  // namespace PW_COLLECT

}  // namespace pw
