// What the memory-bound routines on u8 share.
#pragma once
#include "base/buffer.h"
#include "ukernels/kinds/table_u8.h"
#include "values/quantised.h"
#include "values/vector.h"

namespace pw {

// The 256 outputs of a function of one value; nothing where every output is its input.
class ByteTable {
 public:
  ByteTable() = default;
  // q -> requantised f(real), f the activation of `out`.
  ByteTable(Scale in, const RequantU8& out) {
    alignas(64) float y[256];
    for (int32_t q = 0; q < 256; ++q) y[q] = in.scale * static_cast<float>(q - in.zero);
    if (out.act.act != Act::clip)
      best_ukernel<ActivationF32>(PW_KIND_ACTIVATION_F32, out.act.act).run(&out.act, y, y, 256);
    Buffer table(256);
    bool same = true;
    for (int32_t q = 0; q < 256; ++q) {
      // The product is stored, so that no compiler fuses it with what follows.
      y[q] = (y[q] == y[q] ? y[q] : 0.0f) * out.inverse;
      table.as<uint8_t>()[q] = byte_of(y[q], out);
      same = same && table.as<uint8_t>()[q] == q;
    }
    if (!same) table_ = std::move(table);
    kernel_ = &best_ukernel<TableU8>(PW_KIND_TABLE_U8);
  }
  bool nothing() const { return table_.bytes() == 0; }
  size_t bytes() const { return table_.bytes(); }
  // y may be x.
  void apply(const uint8_t* x, uint8_t* y, int64_t n) const {
    if (!nothing()) kernel_->run(table_.as<uint8_t>(), x, y, n);
    else if (x != y) __builtin_memcpy(y, x, static_cast<size_t>(n));
  }

 private:
  Buffer table_;
  const TableU8* kernel_ = nullptr;
};

// From one scale to another.
inline ByteTable rescaling(Scale in, Scale out) {
  return in == out ? ByteTable() : ByteTable(in, requantise(kNoActivation, out));
}

// As VectorRoutine, on u8.
class VectorU8Routine : public VectorRoutine {
 public:
  VectorU8Routine(const std::string& layer, const std::string& algorithm, Layout layout, std::string kind = "",
                  bool takes_epilogue = false)
      : VectorRoutine(layer, algorithm, layout, std::move(kind), takes_epilogue, DType::u8) {}
};

// Any function of one u8 value.
class TableU8Kernel : public PieceKernel {
 public:
  TableU8Kernel(ByteTable table, int64_t count) : table_(std::move(table)), count_(count) {}
  size_t packed_bytes() const override { return table_.bytes(); }
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    in_pieces(team, count_, 1024, count_, [&](int64_t first, int64_t last) {
      table_.apply(static_cast<const uint8_t*>(in[0]) + first, static_cast<uint8_t*>(out[0]) + first, last - first);
    });
  }

 private:
  ByteTable table_;
  int64_t count_;
};

}  // namespace pw
