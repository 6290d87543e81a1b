// Eight lanes of four bytes. FW_VNNI_256 says whether products of bytes take one instruction (AVX-VNNI); without it
// they are taken as pairs of 16 bits, for the instruction that multiplies bytes saturates at 16.

struct Vector {
  static constexpr int kLanes = 8;
  using Raw = __m256i;
  // Of 32-bit numbers, as what adds to it takes it: GCC keeps an array of another type in memory.
  typedef int32_t Sum __attribute__((vector_size(32)));
  using Scale = __m256;

#if FW_VNNI_256
  static constexpr int kMost = 3;  // 4 * 3 sums of 16 registers
  static constexpr bool kWide = false;
  using Bytes = __m256i;
  using Weight = __m256i;

  static inline Bytes ToBytes(Raw raw) { return raw; }
  static inline Weight Spread(const int8_t *from) {
    int32_t four;
    __builtin_memcpy(&four, from, 4);
    return _mm256_set1_epi32(four);
  }
  static inline Weight SpreadFour(const int8_t *from) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)));
  }
  static inline Sum Dot(Sum sum, Bytes x, Weight weight) {
    return reinterpret_cast<Sum>(_mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(sum), x, weight));
  }
#else
  static constexpr int kMost = 2;
  static constexpr bool kWide = true;
  struct Bytes {
    __m256i even, odd;
  };
  struct Weight {
    __m256i even, odd;
  };

  static inline Bytes ToBytes(Raw raw) {
    return {_mm256_and_si256(raw, _mm256_set1_epi16(255)), _mm256_srli_epi16(raw, 8)};
  }
  // Of sixteen weights the even ones lie first, as 16 bits, then the odd ones.
  static inline Weight Spread(const int8_t *from) {
    // A row's place among four of 4 bytes is its place among pairs of 16 bits too.
    int32_t even, odd;
    __builtin_memcpy(&even, from, 4);
    __builtin_memcpy(&odd, from + 16, 4);
    return {_mm256_set1_epi32(even), _mm256_set1_epi32(odd)};
  }
  static inline Weight SpreadFour(const int8_t *from) {
    const __m128i *both = reinterpret_cast<const __m128i *>(from);
    return {_mm256_broadcastsi128_si256(_mm_loadu_si128(both)), _mm256_broadcastsi128_si256(_mm_loadu_si128(both + 1))};
  }
  static inline Sum Dot(Sum sum, Bytes x, Weight weight) {
    const __m256i even = _mm256_madd_epi16(x.even, weight.even), odd = _mm256_madd_epi16(x.odd, weight.odd);
    return reinterpret_cast<Sum>(_mm256_add_epi32(reinterpret_cast<__m256i>(sum), _mm256_add_epi32(even, odd)));
  }
#endif

  static inline Raw Load(const uint8_t *from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)); }
  static inline __m256i First(int32_t lanes) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  // Which lanes a vector reads that may not read all: the first `lanes`, all of them where that is 0.
  using Mask = __m256i;
  static inline Mask FirstOf(int32_t lanes) { return First(lanes == 0 ? 8 : lanes); }
  static inline Raw LoadPart(const uint8_t *from, Mask mask) {
    return _mm256_maskload_epi32(reinterpret_cast<const int *>(from), mask);
  }
  static inline Raw Same(uint8_t byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }
  // Lanes [first, last) of a vector taken from lanes start + stride * i of x, the others `fill`; nothing else is read,
  // but what lies between two of those lanes.
  struct Part {
    Part(int64_t lane_stride, int32_t first, int32_t last) : stride(lane_stride) {
      lanes = _mm256_andnot_si256(First(first), First(last));
      low = _mm256_andnot_si256(First(2 * first), First(2 * last - 1));
      high = _mm256_andnot_si256(First(2 * first - 8), First(2 * last - 9));
    }
    inline Raw Take(const uint8_t *x, int64_t start, Raw fill) const {
      const int *from = reinterpret_cast<const int *>(x) + start;
      if (stride == 1) return _mm256_blendv_epi8(fill, _mm256_maskload_epi32(from, lanes), lanes);
      if (stride == 2) {
        const __m256 a = _mm256_castsi256_ps(_mm256_maskload_epi32(from, low));
        const __m256 b = _mm256_castsi256_ps(_mm256_maskload_epi32(from + 8, high));
        const __m256i even = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)), 0xd8);
        return _mm256_blendv_epi8(fill, even, lanes);
      }
      const __m256i count = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
      const __m256i index = _mm256_mullo_epi32(count, _mm256_set1_epi32(static_cast<int>(stride)));
      return _mm256_mask_i32gather_epi32(fill, from, index, lanes, 4);
    }
    int64_t stride;
    __m256i lanes, low, high;
  };
  static inline Sum All(int32_t value) { return reinterpret_cast<Sum>(_mm256_set1_epi32(value)); }
  static inline Scale All(float value) { return _mm256_set1_ps(value); }
  static inline Sum Four(const int32_t *from) {
    return reinterpret_cast<Sum>(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from))));
  }
  static inline Scale Four(const float *from) {
    const __m128 one = _mm_loadu_ps(from);
    return _mm256_insertf128_ps(_mm256_castps128_ps256(one), one, 1);
  }

  // Lanes k of the four in a 16-byte part: the taps that belong to channel c of pixel k, one after another.
  static inline void Interleave(const Raw taps[4], Raw lanes[4]) {
    const Raw low_01 = _mm256_unpacklo_epi8(taps[0], taps[1]), high_01 = _mm256_unpackhi_epi8(taps[0], taps[1]);
    const Raw low_23 = _mm256_unpacklo_epi8(taps[2], taps[3]), high_23 = _mm256_unpackhi_epi8(taps[2], taps[3]);
    lanes[0] = _mm256_unpacklo_epi16(low_01, low_23);
    lanes[1] = _mm256_unpackhi_epi16(low_01, low_23);
    lanes[2] = _mm256_unpacklo_epi16(high_01, high_23);
    lanes[3] = _mm256_unpackhi_epi16(high_01, high_23);
  }
  // Of each 16 bytes: pixels 0, 1, 2 (or 1, 2, 3) of each channel together; the fourth byte meets a weight of zero.
  static inline Raw FirstThree(Raw raw) {
    return _mm256_shuffle_epi8(raw, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)));
  }
  static inline Raw LastThree(Raw raw) {
    return _mm256_shuffle_epi8(raw, _mm256_broadcastsi128_si256(_mm_setr_epi8(4, 8, 12, 0, 5, 9, 13, 1, 6, 10, 14, 2, 7, 11, 15, 3)));
  }
  // The first three bytes of lanes together.
  static constexpr bool kTightens = true;
  static inline Raw Three(Raw raw) {
    const __m256i each =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    return _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(raw, each), _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
  }
  // Four bytes every `step` bytes.
  struct Steps {
    explicit Steps(int64_t step)
        : at(_mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(static_cast<int>(step)))) {}
    inline Raw Take(const uint8_t *x) const { return _mm256_i32gather_epi32(reinterpret_cast<const int *>(x), at, 1); }
    __m256i at;
  };
  static inline Raw Larger(Raw a, Raw b) { return _mm256_max_epu8(a, b); }

  // kPlain: zero and low are 0, high is 255, and no product reaches 2^31, so that saturation alone is the clamp.
  template <bool kPlain>
  static inline __m256i Rounded(Sum sum, Scale scale, __m256 top) {
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(reinterpret_cast<__m256i>(sum)), scale);
    return _mm256_cvtps_epi32(kPlain ? scaled : _mm256_min_ps(scaled, top));
  }
  template <bool kPlain>
  static inline Raw Clamped(__m256i a, __m256i b, __m256i c, __m256i d, const Clamp &clamp) {
    const __m256i ab = _mm256_packs_epi32(a, b), cd = _mm256_packs_epi32(c, d);
    if (kPlain) return _mm256_packus_epi16(ab, cd);
    const __m256i zero = _mm256_set1_epi16(clamp.zero);
    const Raw raw = _mm256_packus_epi16(_mm256_adds_epi16(ab, zero), _mm256_adds_epi16(cd, zero));
    return _mm256_max_epu8(raw, _mm256_set1_epi8(static_cast<char>(clamp.low)));
  }
  // sums[r], scale[r]: of row r at all pixels.
  template <bool kPlain>
  static inline Raw Rows(const Sum sums[4], const Scale scale[4], const Clamp &clamp) {
    const __m256 top = _mm256_set1_ps(clamp.top);
    const Raw four = Clamped<kPlain>(Rounded<kPlain>(sums[0], scale[0], top), Rounded<kPlain>(sums[1], scale[1], top),
                                     Rounded<kPlain>(sums[2], scale[2], top), Rounded<kPlain>(sums[3], scale[3], top),
                                     clamp);
    return FirstThree(four);  // 4x4 bytes, rows to columns
  }
  // sums[k]: of all channels at pixel k of each four.
  template <bool kPlain>
  static inline Raw Pixels(const Sum sums[4], Scale scale, const Clamp &clamp) {
    const __m256 top = _mm256_set1_ps(clamp.top);
    return Clamped<kPlain>(Rounded<kPlain>(sums[0], scale, top), Rounded<kPlain>(sums[1], scale, top),
                           Rounded<kPlain>(sums[2], scale, top), Rounded<kPlain>(sums[3], scale, top), clamp);
  }
  // `a` and `b` hold 2^23 + byte as floats. 2^23 * scale is a float again, so taking it away within the product leaves
  // byte * scale rounded once, as a product of its own would be.
  static inline Scale Scaled(__m256i magic, float scale) {
    return _mm256_fmsub_ps(_mm256_castsi256_ps(magic), All(scale), All(8388608.0f * scale));
  }
  template <bool kPlain>
  static inline __m256i RoundedSum(__m256i a, __m256i b, const Addition &add) {
    const Scale first = _mm256_add_ps(All(add.shift), Scaled(a, add.a_scale));
    const Scale sum = _mm256_add_ps(first, Scaled(b, add.b_scale));
    if (kPlain) return _mm256_cvtps_epi32(sum);
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(sum, All(add.low)), All(add.high)));
  }
  // What is laid apart within 16 bytes is packed there again.
  template <bool kPlain>
  static inline Raw Added(Raw a, Raw b, const Addition &add) {
    const __m256i zero = _mm256_setzero_si256(), magic = _mm256_set1_epi16(0x4b00);
    const __m256i a_low = _mm256_unpacklo_epi8(a, zero), a_high = _mm256_unpackhi_epi8(a, zero);
    const __m256i b_low = _mm256_unpacklo_epi8(b, zero), b_high = _mm256_unpackhi_epi8(b, zero);
    const __m256i low = _mm256_packs_epi32(
        RoundedSum<kPlain>(_mm256_unpacklo_epi16(a_low, magic), _mm256_unpacklo_epi16(b_low, magic), add),
        RoundedSum<kPlain>(_mm256_unpackhi_epi16(a_low, magic), _mm256_unpackhi_epi16(b_low, magic), add));
    const __m256i high = _mm256_packs_epi32(
        RoundedSum<kPlain>(_mm256_unpacklo_epi16(a_high, magic), _mm256_unpacklo_epi16(b_high, magic), add),
        RoundedSum<kPlain>(_mm256_unpackhi_epi16(a_high, magic), _mm256_unpackhi_epi16(b_high, magic), add));
    return _mm256_packus_epi16(low, high);
  }
  // A product by the inverse takes a fifth of a quotient's time, and rounds to the same integer where it is not all but
  // half-way between two: it is off by less than 3 * 2^-24 of at most 256.
  static inline __m256i Quantized(const float *x, const Quantization &by) {
    const __m256 low = _mm256_set1_ps(by.low), high = _mm256_set1_ps(by.high), given = _mm256_loadu_ps(x);
    const __m256 near = _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(given, _mm256_set1_ps(by.inverse)), low), high);
    __m256i whole = _mm256_cvtps_epi32(near);
    const __m256 off = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(near, _mm256_cvtepi32_ps(whole)));
    if (_mm256_movemask_ps(_mm256_cmp_ps(off, _mm256_set1_ps(0.4999f), _CMP_NLT_UQ)) != 0) {
      const __m256 exact = _mm256_div_ps(given, _mm256_set1_ps(by.scale));
      whole = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(exact, low), high));
    }
    return _mm256_add_epi32(whole, _mm256_set1_epi32(by.zero));
  }
  static inline Raw Quantized(const float *const x[4], int64_t at, const Quantization &by) {
    __m256i lanes = Quantized(x[0] + at, by);
    if (x[1] != nullptr) lanes = _mm256_or_si256(lanes, _mm256_slli_epi32(Quantized(x[1] + at, by), 8));
    if (x[2] != nullptr) lanes = _mm256_or_si256(lanes, _mm256_slli_epi32(Quantized(x[2] + at, by), 16));
    if (x[3] != nullptr) lanes = _mm256_or_si256(lanes, _mm256_slli_epi32(Quantized(x[3] + at, by), 24));
    return lanes;
  }
  // Each 16 bytes hold two pixels of the first half and two of the second.
  static inline Raw Halves(Raw raw) { return _mm256_permute4x64_epi64(raw, 0xd8); }

  // What Store put there.
  static inline Raw LoadLanes(const uint8_t *from, uint32_t mask) {
    if (mask == 0xffu) return Load(from);
    if ((mask & (mask + 1)) == 0)
      return _mm256_maskload_epi32(reinterpret_cast<const int *>(from), First(__builtin_popcount(mask)));
    int32_t lanes[8] = {};
    for (; mask != 0; mask &= mask - 1, from += 4) __builtin_memcpy(&lanes[__builtin_ctz(mask)], from, 4);
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(lanes));
  }
  static inline void StoreAll(Raw raw, uint8_t *to) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), raw); }
  // The lanes of the mask, together.
  static inline void Store(Raw raw, uint8_t *to, uint32_t mask) {
    if (mask == 0xffu) {
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), raw);
    } else if ((mask & (mask + 1)) == 0) {  // the first ones alone
      _mm256_maskstore_epi32(reinterpret_cast<int *>(to), First(__builtin_popcount(mask)), raw);
    } else {
      int32_t lanes[8];
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(lanes), raw);
      for (; mask != 0; mask &= mask - 1, to += 4) __builtin_memcpy(to, &lanes[__builtin_ctz(mask)], 4);
    }
  }
};
