// The kernel of concat and split on u8: rectangular copies, rescaled where a value's scale is not that of the other
// side. No input shares memory with an output, since whether it is rescaled, under the eyes of its other readers, is
// known to `prepare` only.
#pragma once
#include "routines/shaping/strips.h"
#include "values/vector_u8.h"

namespace pw {

class StripsU8Kernel : public PieceKernel {
 public:
  // Strip i is copied between value i of the side that has several, inputs where `joins`, and the other side's only one.
  StripsU8Kernel(std::vector<Strip> strips, std::vector<ByteTable> tables, bool joins)
      : strips_(std::move(strips)), tables_(std::move(tables)), joins_(joins) {}
  size_t packed_bytes() const override {
    size_t bytes = 0;
    for (const ByteTable& t : tables_) bytes += t.bytes();
    return bytes;
  }
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    for (size_t i = 0; i < strips_.size(); ++i) {
      const Strip& s = strips_[i];
      const auto* x = static_cast<const uint8_t*>(in[joins_ ? i : 0]) + s.source_offset;
      auto* y = static_cast<uint8_t*>(out[joins_ ? 0 : i]) + s.target_offset;
      share_rows(team, 1, s.rows, s.length, [&](int64_t, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
        if (s.source_row == s.length && s.target_row == s.length && c1 - c0 == s.length)
          return tables_[i].apply(x + r0 * s.length, y + r0 * s.length, (r1 - r0) * s.length);
        for (int64_t r = r0; r < r1; ++r)
          tables_[i].apply(x + r * s.source_row + c0, y + r * s.target_row + c0, c1 - c0);
      });
    }
  }

 private:
  std::vector<Strip> strips_;
  std::vector<ByteTable> tables_;
  bool joins_;
};

}  // namespace pw
