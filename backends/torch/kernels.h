// What the code of Inductor for processors uses in kernels that are built for eager mode.
#ifndef MULTIACT_KERNELS
#define MULTIACT_KERNELS

namespace multiact {

// exp(x). at::vec calls Sleef's, around which all vectors are saved, constants among them; this one is inlined, and shorter.
template <typename V>
inline V exp(const V& x) {
  return x.exp();
}

// The maximum and the minimum of a row so far and x. at::vec looks for NaN in both, and so in what all the others wait for; here x
// alone is looked at, and the limit of NaN and a number is the second operand.
template <typename V>
inline V maximum(const V& row, const V& x) {
  return at::vec::maximum(row, x);
}

template <typename V>
inline V minimum(const V& row, const V& x) {
  return at::vec::minimum(row, x);
}

#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)

using Floats = at::vec::Vectorized<float>;

// y 2^k for integers k from -150 to 128; what is subnormal is rounded once.
inline Floats scaled(const Floats& y, const Floats& k) {
#if defined(CPU_CAPABILITY_AVX512)
  return _mm512_scalef_ps(y, k);
#else
  const __m256i whole = _mm256_cvtps_epi32(k), half = _mm256_srai_epi32(whole, 1), bias = _mm256_set1_epi32(127);
  const auto power = [&](__m256i n) -> Floats {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, bias), 23));
  };
  return y * power(half) * power(_mm256_sub_epi32(whole, half));
#endif
}

// As 2^k exp(r) for the nearest integer k and a polynomial of r, relative error 4e-9 for |r| <= ln(2) / 2 (interpolated at
// Chebyshev nodes with Lawson's weights). Within 0.9 ulp; NaN stays NaN, since it is the last operand of both limits.
inline Floats exp(const Floats& x) {
  using at::vec::fmadd;
  const Floats v = at::vec::clamp(x, Floats(-104.0f), Floats(89.0f));
  const Floats k = (v * Floats(1.44269504f)).round();
  const Floats r = fmadd(k, Floats(2.12194440e-4f), fmadd(k, Floats(-0.693359375f), v));
  Floats y = fmadd(r, Floats(0.00138145394f), Floats(0.00836874545f));
  y = fmadd(r, y, Floats(0.0416683890f));
  y = fmadd(r, y, Floats(0.166665211f));
  y = fmadd(r, y, Floats(0.499999940f));
  y = fmadd(r, y, Floats(1.0f));
  y = fmadd(r, y, Floats(1.0f));
  return scaled(y, k);
}

inline Floats or_nan(const Floats& limit, const Floats& x) {
#if defined(CPU_CAPABILITY_AVX512)
  return _mm512_mask_mov_ps(limit, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
#else
  return _mm256_blendv_ps(limit, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
#endif
}

inline Floats maximum(const Floats& row, const Floats& x) {
  return or_nan(at::vec::clamp_min(row, x), x);
}

inline Floats minimum(const Floats& row, const Floats& x) {
  return or_nan(at::vec::clamp_max(row, x), x);
}

template <int N>
using Several = at::vec::VectorizedN<float, N>;

// What `one` gives for each of them.
template <int N, typename One>
inline Several<N> each(const One& one) {
  Several<N> y;
  for (int i = 0; i < N; ++i) {
    y[i] = one(i);
  }
  return y;
}

template <int N>
inline Several<N> exp(const Several<N>& x) {
  return each<N>([&](int i) { return exp(x[i]); });
}

template <int N>
inline Several<N> maximum(const Several<N>& row, const Several<N>& x) {
  return each<N>([&](int i) { return maximum(row[i], x[i]); });
}

template <int N>
inline Several<N> minimum(const Several<N>& row, const Several<N>& x) {
  return each<N>([&](int i) { return minimum(row[i], x[i]); });
}

#endif

} // namespace multiact

#endif
