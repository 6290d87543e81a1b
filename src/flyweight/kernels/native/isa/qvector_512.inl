// Sixteen lanes of four bytes, with products of bytes in one instruction (AVX-512 VNNI).

struct Vector {
  static constexpr int kLanes = 16;
  static constexpr int kMost = 6;  // 4 * 6 sums, the inputs and a weight fill the 32 registers
  static constexpr bool kWide = false;

  using Raw = __m512i;
  using Bytes = __m512i;
  using Weight = __m512i;
  // Of 32-bit numbers, as what adds to it takes it: GCC keeps an array of another type in memory.
  typedef int32_t Sum __attribute__((vector_size(64)));
  using Scale = __m512;

  static inline Raw Load(const uint8_t *from) { return _mm512_loadu_si512(from); }
  // Which lanes a vector reads that may not read all: the first `lanes`, all of them where that is 0.
  using Mask = __mmask16;
  static inline Mask FirstOf(int32_t lanes) { return static_cast<Mask>(0xffffu >> (16 - (lanes == 0 ? 16 : lanes))); }
  static inline Raw LoadPart(const uint8_t *from, Mask mask) { return _mm512_maskz_loadu_epi32(mask, from); }
  static inline Raw Same(uint8_t byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }
  // Lanes [first, last) of a vector taken from lanes start + stride * i of x, the others `fill`; nothing else is read,
  // but what lies between two of those lanes.
  struct Part {
    Part(int64_t lane_stride, int32_t first, int32_t last) : stride(lane_stride) {
      lanes = static_cast<__mmask16>((0xffffu >> (16 - last)) & (0xffffu << first));
      both = ((uint64_t{1} << (2 * last - 1)) - 1) & (~uint64_t{0} << (2 * first));
    }
    inline Raw Take(const uint8_t *x, int64_t start, Raw fill) const {
      if (stride == 1) return _mm512_mask_loadu_epi32(fill, lanes, x + 4 * start);
      if (stride == 2) {
        const __m512i low = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(both), x + 4 * start);
        const __m512i high = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(both >> 16), x + 4 * start + 64);
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        return _mm512_mask_mov_epi32(fill, lanes, _mm512_permutex2var_epi32(low, even, high));
      }
      const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      const __m512i index = _mm512_mullo_epi32(count, _mm512_set1_epi32(static_cast<int>(stride)));
      return _mm512_mask_i32gather_epi32(fill, lanes, index, x + 4 * start, 4);
    }
    int64_t stride;
    __mmask16 lanes;
    uint64_t both;
  };
  static inline Bytes ToBytes(Raw raw) { return raw; }

  // Four weights, the same in all lanes; sixteen, the same in every four lanes.
  static inline Weight Spread(const int8_t *from) {
    int32_t four;
    __builtin_memcpy(&four, from, 4);
    return _mm512_set1_epi32(four);
  }
  static inline Weight SpreadFour(const int8_t *from) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)));
  }
  static inline Sum Dot(Sum sum, Bytes x, Weight weight) {
    return reinterpret_cast<Sum>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), x, weight));
  }

  static inline Sum All(int32_t value) { return reinterpret_cast<Sum>(_mm512_set1_epi32(value)); }
  static inline Scale All(float value) { return _mm512_set1_ps(value); }
  static inline Sum Four(const int32_t *from) {
    return reinterpret_cast<Sum>(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from))));
  }
  static inline Scale Four(const float *from) { return _mm512_broadcast_f32x4(_mm_loadu_ps(from)); }

  // Lanes k of the four in a 16-byte part: the taps that belong to channel c of pixel k, one after another.
  static inline void Interleave(const Raw taps[4], Raw lanes[4]) {
    const Raw low_01 = _mm512_unpacklo_epi8(taps[0], taps[1]), high_01 = _mm512_unpackhi_epi8(taps[0], taps[1]);
    const Raw low_23 = _mm512_unpacklo_epi8(taps[2], taps[3]), high_23 = _mm512_unpackhi_epi8(taps[2], taps[3]);
    lanes[0] = _mm512_unpacklo_epi16(low_01, low_23);
    lanes[1] = _mm512_unpackhi_epi16(low_01, low_23);
    lanes[2] = _mm512_unpacklo_epi16(high_01, high_23);
    lanes[3] = _mm512_unpackhi_epi16(high_01, high_23);
  }
  // Of each 16 bytes: pixels 0, 1, 2 (or 1, 2, 3) of each channel together; the fourth byte meets a weight of zero.
  static inline Raw FirstThree(Raw raw) {
    return _mm512_shuffle_epi8(raw, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)));
  }
  static inline Raw LastThree(Raw raw) {
    return _mm512_shuffle_epi8(raw, _mm512_broadcast_i32x4(_mm_setr_epi8(4, 8, 12, 0, 5, 9, 13, 1, 6, 10, 14, 2, 7, 11, 15, 3)));
  }
  // The first three bytes of lanes together.
  static constexpr bool kTightens = true;
  static inline Raw Three(Raw raw) {
    const __m512i each = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m512i parts = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(parts, _mm512_shuffle_epi8(raw, each));
  }
  // Four bytes every `step` bytes, of which there are at most 8.
  struct Steps {
    explicit Steps(int64_t bytes) : step(bytes) {
      const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      at = _mm512_mullo_epi32(count, _mm512_set1_epi32(static_cast<int>(bytes)));
      const __m512i word = _mm512_srli_epi32(at, 1);
      words = _mm512_or_si512(word, _mm512_slli_epi32(_mm512_add_epi32(word, _mm512_set1_epi32(1)), 16));
    }
    inline Raw Take(const uint8_t *x) const {
      if (step % 2 != 0) return _mm512_i32gather_epi32(at, x, 1);
      return _mm512_permutex2var_epi16(Load(x), words, Load(x + 64));
    }
    int64_t step;
    __m512i at, words;
  };
  static inline Raw Larger(Raw a, Raw b) { return _mm512_max_epu8(a, b); }

  // kPlain: zero and low are 0, high is 255, and no product reaches 2^31, so that saturation alone is the clamp.
  template <bool kPlain>
  static inline __m512i Rounded(Sum sum, Scale scale, __m512 top) {
    const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(reinterpret_cast<__m512i>(sum)), scale);
    return _mm512_cvtps_epi32(kPlain ? scaled : _mm512_min_ps(scaled, top));
  }
  template <bool kPlain>
  static inline Raw Clamped(__m512i a, __m512i b, __m512i c, __m512i d, const Clamp &clamp) {
    const __m512i ab = _mm512_packs_epi32(a, b), cd = _mm512_packs_epi32(c, d);
    if (kPlain) return _mm512_packus_epi16(ab, cd);
    const __m512i zero = _mm512_set1_epi16(clamp.zero);
    const Raw raw = _mm512_packus_epi16(_mm512_adds_epi16(ab, zero), _mm512_adds_epi16(cd, zero));
    return _mm512_max_epu8(raw, _mm512_set1_epi8(static_cast<char>(clamp.low)));
  }
  // sums[r], scale[r]: of row r at all pixels.
  template <bool kPlain>
  static inline Raw Rows(const Sum sums[4], const Scale scale[4], const Clamp &clamp) {
    const __m512 top = _mm512_set1_ps(clamp.top);
    const Raw four = Clamped<kPlain>(Rounded<kPlain>(sums[0], scale[0], top), Rounded<kPlain>(sums[1], scale[1], top),
                                     Rounded<kPlain>(sums[2], scale[2], top), Rounded<kPlain>(sums[3], scale[3], top),
                                     clamp);
    return FirstThree(four);  // 4x4 bytes, rows to columns
  }
  // sums[k]: of all channels at pixel k of each four.
  template <bool kPlain>
  static inline Raw Pixels(const Sum sums[4], Scale scale, const Clamp &clamp) {
    const __m512 top = _mm512_set1_ps(clamp.top);
    return Clamped<kPlain>(Rounded<kPlain>(sums[0], scale, top), Rounded<kPlain>(sums[1], scale, top),
                           Rounded<kPlain>(sums[2], scale, top), Rounded<kPlain>(sums[3], scale, top), clamp);
  }
  // `a` and `b` hold 2^23 + byte as floats. 2^23 * scale is a float again, so taking it away within the product leaves
  // byte * scale rounded once, as a product of its own would be.
  static inline Scale Scaled(__m512i magic, float scale) {
    return _mm512_fmsub_ps(_mm512_castsi512_ps(magic), All(scale), All(8388608.0f * scale));
  }
  template <bool kPlain>
  static inline __m512i RoundedSum(__m512i a, __m512i b, const Addition &add) {
    const Scale first = _mm512_add_ps(All(add.shift), Scaled(a, add.a_scale));
    const Scale sum = _mm512_add_ps(first, Scaled(b, add.b_scale));
    if (kPlain) return _mm512_cvtps_epi32(sum);
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(sum, All(add.low)), All(add.high)));
  }
  // What is laid apart within 16 bytes is packed there again.
  template <bool kPlain>
  static inline Raw Added(Raw a, Raw b, const Addition &add) {
    const __m512i zero = _mm512_setzero_si512(), magic = _mm512_set1_epi16(0x4b00);
    const __m512i a_low = _mm512_unpacklo_epi8(a, zero), a_high = _mm512_unpackhi_epi8(a, zero);
    const __m512i b_low = _mm512_unpacklo_epi8(b, zero), b_high = _mm512_unpackhi_epi8(b, zero);
    const __m512i low = _mm512_packs_epi32(
        RoundedSum<kPlain>(_mm512_unpacklo_epi16(a_low, magic), _mm512_unpacklo_epi16(b_low, magic), add),
        RoundedSum<kPlain>(_mm512_unpackhi_epi16(a_low, magic), _mm512_unpackhi_epi16(b_low, magic), add));
    const __m512i high = _mm512_packs_epi32(
        RoundedSum<kPlain>(_mm512_unpacklo_epi16(a_high, magic), _mm512_unpacklo_epi16(b_high, magic), add),
        RoundedSum<kPlain>(_mm512_unpackhi_epi16(a_high, magic), _mm512_unpackhi_epi16(b_high, magic), add));
    return _mm512_packus_epi16(low, high);
  }
  // A product by the inverse takes a fifth of a quotient's time, and rounds to the same integer where it is not all but
  // half-way between two: it is off by less than 3 * 2^-24 of at most 256.
  static inline __m512i Quantized(const float *x, const Quantization &by) {
    const __m512 low = _mm512_set1_ps(by.low), high = _mm512_set1_ps(by.high), given = _mm512_loadu_ps(x);
    const __m512 near = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(given, _mm512_set1_ps(by.inverse)), low), high);
    __m512i whole = _mm512_cvtps_epi32(near);
    const __m512 off = _mm512_abs_ps(_mm512_sub_ps(near, _mm512_cvtepi32_ps(whole)));
    if (_mm512_cmp_ps_mask(off, _mm512_set1_ps(0.4999f), _CMP_NLT_UQ) != 0) {
      const __m512 exact = _mm512_div_ps(given, _mm512_set1_ps(by.scale));
      whole = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(exact, low), high));
    }
    return _mm512_add_epi32(whole, _mm512_set1_epi32(by.zero));
  }
  static inline Raw Quantized(const float *const x[4], int64_t at, const Quantization &by) {
    __m512i lanes = Quantized(x[0] + at, by);
    if (x[1] != nullptr) lanes = _mm512_or_si512(lanes, _mm512_slli_epi32(Quantized(x[1] + at, by), 8));
    if (x[2] != nullptr) lanes = _mm512_or_si512(lanes, _mm512_slli_epi32(Quantized(x[2] + at, by), 16));
    if (x[3] != nullptr) lanes = _mm512_or_si512(lanes, _mm512_slli_epi32(Quantized(x[3] + at, by), 24));
    return lanes;
  }
  // Each 16 bytes hold two pixels of the first half and two of the second.
  static inline Raw Halves(Raw raw) {
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), raw);
  }
  // What Store put there.
  static inline Raw LoadLanes(const uint8_t *from, uint32_t mask) {
    return mask == 0xffffu ? Load(from) : _mm512_maskz_expandloadu_epi32(static_cast<__mmask16>(mask), from);
  }
  static inline void StoreAll(Raw raw, uint8_t *to) { _mm512_storeu_si512(to, raw); }
  // The lanes of the mask, together.
  static inline void Store(Raw raw, uint8_t *to, uint32_t mask) {
    if (mask == 0xffffu) {
      _mm512_storeu_si512(to, raw);
      return;
    }
    const Raw together = _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), raw);
    _mm512_mask_storeu_epi32(to, static_cast<__mmask16>((1u << __builtin_popcount(mask)) - 1), together);
  }
};
