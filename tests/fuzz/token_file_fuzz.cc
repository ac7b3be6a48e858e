// Files of tokens. The first byte chooses the vocabulary and whether a header is expected. What is
// accepted must hold tokens of the vocabulary only, and no more than the file has bytes.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/data/text/token_file.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const int64_t vocabulary = (data[0] & 1) != 0 ? 100 : 70000;
  const TokenFileKind kind = (data[0] & 2) != 0 ? TokenFileKind::kPlain : TokenFileKind::kAuto;
  const MemoryFile memory(data + 1, size - 1);
  const auto stream = OpenTokenFile(memory.path(), vocabulary, kind);
  if (!stream.ok()) {
    Require(stream.status().message().size() < 1000);
    Require(stream.status().message().find('\n') == std::string::npos);
    return 0;
  }
  Require((*stream)->size() > 0);
  Require((*stream)->size() <= static_cast<int64_t>(size));
  std::vector<int32_t> tokens(static_cast<size_t>((*stream)->size()));
  (*stream)->Copy(0, tokens);
  for (const int32_t token : tokens) Require(token >= 0 && token < vocabulary);
  return 0;
}
