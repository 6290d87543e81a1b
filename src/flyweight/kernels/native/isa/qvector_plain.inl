// Four lanes of four bytes in plain C++, for any processor.

inline float KeptBelow(float value, float top) { return value < top ? value : top; }

// Half to even, by the rounding of float sums: beyond 2^22 there is nothing left to round.
inline int32_t Nearest(float value) {
  const float size = value < 0 ? -value : value;
  if (size >= 2147483648.0f) return INT32_MIN;
  if (size >= 4194304.0f) return static_cast<int32_t>(value);
  return static_cast<int32_t>((value + 12582912.0f) - 12582912.0f);
}

struct Vector {
  static constexpr int kLanes = 4;
  static constexpr int kMost = 2;
  static constexpr bool kWide = false;

  struct Raw {
    uint8_t byte[16];
  };
  using Bytes = Raw;
  struct Weight {
    int8_t byte[16];
  };
  struct Sum {
    int32_t lane[4];
  };
  struct Scale {
    float lane[4];
  };

  static inline Raw Load(const uint8_t *from) {
    Raw raw;
    __builtin_memcpy(raw.byte, from, 16);
    return raw;
  }
  // How many bytes a vector reads that may not read all: of the first `lanes`, of all where that is 0.
  using Mask = size_t;
  static inline Mask FirstOf(int32_t lanes) { return static_cast<size_t>(lanes == 0 ? 16 : 4 * lanes); }
  static inline Raw LoadPart(const uint8_t *from, Mask bytes) {
    Raw raw = {};
    __builtin_memcpy(raw.byte, from, bytes);
    return raw;
  }
  static inline Raw Same(uint8_t byte) {
    Raw raw;
    for (int i = 0; i < 16; ++i) raw.byte[i] = byte;
    return raw;
  }
  // Lanes [first, last) of a vector taken from lanes start + stride * i of x, the others `fill`; nothing else is read.
  struct Part {
    Part(int64_t lane_stride, int32_t first_lane, int32_t last_lane)
        : stride(lane_stride), first(first_lane), last(last_lane) {}
    inline Raw Take(const uint8_t *x, int64_t start, Raw fill) const {
      for (int32_t l = first; l < last; ++l) __builtin_memcpy(fill.byte + 4 * l, x + 4 * (start + stride * l), 4);
      return fill;
    }
    int64_t stride;
    int32_t first, last;
  };
  static inline Bytes ToBytes(Raw raw) { return raw; }
  static inline Weight Spread(const int8_t *from) {
    Weight weight;
    for (int l = 0; l < 4; ++l) __builtin_memcpy(weight.byte + 4 * l, from, 4);
    return weight;
  }
  static inline Weight SpreadFour(const int8_t *from) {
    Weight weight;
    __builtin_memcpy(weight.byte, from, 16);
    return weight;
  }
  // Unsigned sums, for those wrap around where signed ones may do anything.
  static inline Sum Dot(Sum sum, Bytes x, Weight weight) {
    for (int l = 0; l < 4; ++l) {
      int32_t more = 0;
      for (int k = 0; k < 4; ++k) more += static_cast<int32_t>(x.byte[4 * l + k]) * weight.byte[4 * l + k];
      sum.lane[l] = static_cast<int32_t>(static_cast<uint32_t>(sum.lane[l]) + static_cast<uint32_t>(more));
    }
    return sum;
  }
  static inline Sum All(int32_t value) { return {{value, value, value, value}}; }
  static inline Scale All(float value) { return {{value, value, value, value}}; }
  static inline Sum Four(const int32_t *from) { return {{from[0], from[1], from[2], from[3]}}; }
  static inline Scale Four(const float *from) { return {{from[0], from[1], from[2], from[3]}}; }

  static inline void Interleave(const Raw taps[4], Raw lanes[4]) {
    for (int k = 0; k < 4; ++k) {
      for (int c = 0; c < 4; ++c) {
        for (int t = 0; t < 4; ++t) lanes[k].byte[4 * c + t] = taps[t].byte[4 * k + c];
      }
    }
  }
  // Pixels 0, 1, 2 (or 1, 2, 3) of each channel together; the fourth byte meets a weight of zero.
  static inline Raw FirstThree(Raw raw) { return Turned(raw, 0); }
  static inline Raw LastThree(Raw raw) { return Turned(raw, 1); }
  // Bytes of lanes without gaps, and lanes out of those, are one by one as fast here.
  static constexpr bool kTightens = false;
  static inline Raw Three(Raw raw) { return raw; }
  struct Steps {
    explicit Steps(int64_t) {}
    inline Raw Take(const uint8_t *x) const { return Load(x); }
  };
  static inline Raw Larger(Raw a, Raw b) {
    for (int i = 0; i < 16; ++i) a.byte[i] = a.byte[i] > b.byte[i] ? a.byte[i] : b.byte[i];
    return a;
  }
  // sums[r], scale[r]: of row r at all pixels.
  template <bool kPlain>
  static inline Raw Rows(const Sum sums[4], const Scale scale[4], const Clamp &clamp) {
    Raw raw;
    for (int r = 0; r < 4; ++r) {
      for (int l = 0; l < 4; ++l) raw.byte[4 * l + r] = Clamped(sums[r].lane[l], scale[r].lane[l], clamp);
    }
    return raw;
  }
  // sums[k]: of all channels at pixel k.
  template <bool kPlain>
  static inline Raw Pixels(const Sum sums[4], Scale scale, const Clamp &clamp) {
    Raw raw;
    for (int k = 0; k < 4; ++k) {
      for (int c = 0; c < 4; ++c) raw.byte[4 * k + c] = Clamped(sums[k].lane[c], scale.lane[c], clamp);
    }
    return raw;
  }
  // What lies between 0 and 255 is rounded by adding 2^23, where a float has no bit left for a half; its lowest byte is
  // then the integer.
  template <bool kPlain>
  static inline Raw Added(Raw a, Raw b, const Addition &add) {
    Raw raw;
    for (int i = 0; i < 16; ++i) {
      const float first = add.shift + add.a_scale * static_cast<float>(a.byte[i]);
      float sum = first + add.b_scale * static_cast<float>(b.byte[i]);
      sum = sum > add.low ? sum : add.low;
      sum = (sum < add.high ? sum : add.high) + 8388608.0f;
      uint32_t bits;
      __builtin_memcpy(&bits, &sum, 4);
      raw.byte[i] = static_cast<uint8_t>(bits);
    }
    return raw;
  }
  static inline Raw Quantized(const float *const x[4], int64_t at, const Quantization &by) {
    Raw raw = {};
    for (int k = 0; k < 4; ++k) {
      for (int l = 0; l < 4 && x[k] != nullptr; ++l) {
        const float value = x[k][at + l] / by.scale, above = value > by.low ? value : by.low;
        raw.byte[4 * l + k] = static_cast<uint8_t>(Nearest(KeptBelow(above, by.high)) + by.zero);
      }
    }
    return raw;
  }
  static inline Raw Halves(Raw raw) { return raw; }
  // What Store put there.
  static inline Raw LoadLanes(const uint8_t *from, uint32_t mask) {
    Raw raw = {};
    for (int l = 0; l < 4; ++l) {
      if ((mask >> l & 1) != 0) {
        __builtin_memcpy(raw.byte + 4 * l, from, 4);
        from += 4;
      }
    }
    return raw;
  }
  static inline void StoreAll(Raw raw, uint8_t *to) { __builtin_memcpy(to, raw.byte, 16); }
  static inline void Store(Raw raw, uint8_t *to, uint32_t mask) {
    for (int l = 0; l < 4; ++l) {
      if ((mask >> l & 1) != 0) {
        __builtin_memcpy(to, raw.byte + 4 * l, 4);
        to += 4;
      }
    }
  }

 private:
  static inline Raw Turned(Raw raw, int from) {
    Raw to;
    for (int c = 0; c < 4; ++c) {
      for (int p = 0; p < 4; ++p) to.byte[4 * c + p] = raw.byte[4 * ((p + from) & 3) + c];
    }
    return to;
  }
  static inline uint8_t Clamped(int32_t sum, float scale, const Clamp &clamp) {
    const float value = KeptBelow(static_cast<float>(sum) * scale, clamp.top);
    const int32_t integer = value < -32768.0f ? -32768 : Nearest(value);
    const int32_t moved = integer + clamp.zero;
    return static_cast<uint8_t>(moved < clamp.low ? clamp.low : moved);
  }
};
