# Prefetching for steps of a few tokens in llama.cpp's CPU kernels.
#
# A closer look, the judging of drafts and several continuations at once are steps of 2 to 20 tokens. For those,
# llama.cpp's kernels read four rows (or two groups of rows) of the weights side by side. The prefetchers of some
# processors do not follow such a pattern: an AMD EPYC (Zen 4) reads 19 GB/s in it and 45 GB/s when it reads the same
# weights row by row, so that a step of two tokens takes half as long again as a step of one. Here the kernels ask for
# the rows that come next, in the order in which they lie in memory. Only hints are added: the same sums are made in
# the same order, and the logits are the same to the last bit.
#
# Included by CMake into llama.cpp's project "ggml" (CMAKE_PROJECT_ggml_INCLUDE, see the Makefile). A kernel whose source is
# not word for word the one this was written for is left as it is, with a warning, and the build goes on.

if(MSVC)
  return()
endif()

# Puts new texts in the places of old ones in FILE: all of them, or none. Each has to stand there once; where UNTIL is
# given, only what comes before it counts. A second pair may be left empty.
function(fovea_replace file until old1 new1 old2 new2)
  set(text "")
  if(EXISTS "${file}")
    file(READ "${file}" text)
  endif()
  set(rest "")
  if(NOT until STREQUAL "")
    string(FIND "${text}" "${until}" end)
    if(end GREATER -1)
      string(SUBSTRING "${text}" ${end} -1 rest)
      string(SUBSTRING "${text}" 0 ${end} text)
    endif()
  endif()
  string(FIND "${text}" "${new1}" done)
  if(done GREATER -1)
    return()
  endif()
  foreach(pair 1 2)
    if(NOT old${pair} STREQUAL "")
      string(FIND "${text}" "${old${pair}}" first)
      string(FIND "${text}" "${old${pair}}" last REVERSE)
      if(first EQUAL -1 OR NOT first EQUAL last)
        message(WARNING "fovea: ${file} is not the one its prefetching was written for; steps of several tokens are slower")
        set(missed TRUE PARENT_SCOPE)
        return()
      endif()
      string(REPLACE "${old${pair}}" "${new${pair}}" text "${text}")
    endif()
  endforeach()
  file(WRITE "${file}" "${text}${rest}")
endfunction()

set(missed FALSE)
set(kernels "${CMAKE_CURRENT_SOURCE_DIR}/src/ggml-cpu")

# 16-bit and 32-bit weights: tiles of four rows. The first tile of a row of tiles asks for the four rows of the next,
# which is the first of this thread's likely next job (jobs are handed out in turn) at the end of a job.
set(tinyblas "${kernels}/llamafile/sgemm.cpp")
fovea_replace("${tinyblas}" "class tinyBLAS_RVV"
[==[    template <int RM, int RN>
    inline void gemm_bloc(int64_t ii, int64_t jj) {
        D Cv[RN][RM] = {};
        for (int64_t l = 0; l < k; l += KN) {
]==]
[==[    template <int RM, int RN>
    inline void gemm_bloc(int64_t ii, int64_t jj, const char * next) {
        D Cv[RN][RM] = {};
        for (int64_t l = 0; l < k; l += KN) {
            if (next) {
                for (size_t b = 0; b < RM * KN * sizeof(TA); b += 64) {
                    __builtin_prefetch(next + b, 0, 2);
                }
                next += RM * KN * sizeof(TA);
            }
]==]
[==[                int64_t jj = jj0;
                for (; jj < jj1; jj += RN) {
                    gemm_bloc<RM, RN>(ii + bi, jj);
                }
                if constexpr (RN > 1) {
                    for (; jj < jj2; jj += RN - 1) {
                        gemm_bloc<RM, RN-1>(ii + bi, jj);
                    }
                }
]==]
[==[                int64_t jj = jj0;
                const int64_t later = job + params->nth < nb_job ? (job + params->nth) % ytiles * RM * BM : -1;
                const int64_t after = bi + RM < BM * RM ? ii + bi + RM : later;
                const char * next = after < 0 || lda != k ? nullptr : (const char *)(A + lda * after);
                for (; jj < jj1; jj += RN) {
                    gemm_bloc<RM, RN>(ii + bi, jj, jj == jj0 ? next : nullptr);
                }
                if constexpr (RN > 1) {
                    for (; jj < jj2; jj += RN - 1) {
                        gemm_bloc<RM, RN-1>(ii + bi, jj, jj == jj0 ? next : nullptr);
                    }
                }
]==])

# 8-bit weights (and the other formats of blocks of 32): likewise.
fovea_replace("${tinyblas}" ""
[==[            __m256 Cv[RN][4] = {};
            for (int64_t l = 0; l < k; ++l) {
]==]
[==[            __m256 Cv[RN][4] = {};
            const char * next = jj == n0 && lda == k ? (const char *)(A + lda * (ii + 4)) : nullptr;
            for (int64_t l = 0; l < k; ++l) {
                if (next) {
                    for (size_t b = 0; b < 4 * sizeof(TA); b += 64) {
                        __builtin_prefetch(next + b, 0, 2);
                    }
                    next += 4 * sizeof(TA);
                }
]==]
"" "")

# 4-bit weights (Q4_K) with AVX-512, four tokens: two groups of eight rows side by side.
set(repack "${kernels}/arch/x86/repack.cpp")
fovea_replace("${repack}" ""
[==[            const block_q4_Kx8 * b_ptr_1 = b_ptr_start + ((x + 1) * b_nb);

            // Master FP accumulators
            __m512 acc_rows[4];
]==]
[==[            const block_q4_Kx8 * b_ptr_1 = b_ptr_start + ((x + 1) * b_nb);
            const char * next = (const char *)(b_ptr_start + (x + 2) * b_nb);

            // Master FP accumulators
            __m512 acc_rows[4];
]==]
[==[            __m512 acc_min_rows[4];
            for (int i = 0; i < 4; i++) {
                acc_min_rows[i] = _mm512_setzero_ps();
            }

            // For super block
            for (int64_t b = 0; b < nb; b++) {
                // Scale values - Load the sixteen scale values from two block_q4_kx8 structures
]==]
[==[            __m512 acc_min_rows[4];
            for (int i = 0; i < 4; i++) {
                acc_min_rows[i] = _mm512_setzero_ps();
            }

            // For super block
            for (int64_t b = 0; b < nb; b++, next += 2 * sizeof(block_q4_Kx8)) {
                for (size_t at = 0; at < 2 * sizeof(block_q4_Kx8); at += 64) {
                    __builtin_prefetch(next + at, 0, 2);
                }
                // Scale values - Load the sixteen scale values from two block_q4_kx8 structures
]==])

# What tells the Makefile, and fovea itself, that this build was made by this recipe.
file(SHA256 "${CMAKE_CURRENT_LIST_FILE}" recipe)
string(SUBSTRING "${recipe}" 0 16 recipe)
if(NOT missed)
  file(READ "${tinyblas}" text)
  string(FIND "${text}" "fovea_wide_steps" marked)
  if(marked EQUAL -1)
    file(APPEND "${tinyblas}" "
extern \"C\" {
extern __attribute__((visibility(\"default\"))) const char fovea_wide_steps[];
const char fovea_wide_steps[] = \"fovea recipe ${recipe}\";
}
")
  endif()
  # GCC keeps too little of that 4-bit kernel in registers; with these options it does.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    cmake_language(DEFER CALL set_source_files_properties "${repack}"
      DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/src"
      PROPERTIES COMPILE_OPTIONS "-flive-range-shrinkage;-fschedule-insns;-fsched-pressure")
  endif()
endif()
