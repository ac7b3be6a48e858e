// Whether two runs had the same bits, and where they first had not.
//
// A digest is a text file: one line that says what it is, then a line for each tensor of the model
// after each step, in the order of the model:
//
//   lockstep digest 1
//   STEP RANK HASH NAME            128 0 9f86d081884c7d65 0.weight
//
// A run that goes on adds the first line again; what it then does again counts as it was done last.
// Hashes (engine/io/hash.h, XXH64) are of integers: of the bits, not of what they stand for.
#ifndef LOCKSTEP_ENGINE_TRAIN_DIGEST_H_
#define LOCKSTEP_ENGINE_TRAIN_DIGEST_H_

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

// Writes the digest of a run; collective. On rank 0, which writes for all.
class DigestWriter {
 public:
  // Begins the file anew, or goes on behind what is there (a run that is resumed).
  static Result<std::unique_ptr<DigestWriter>> Make(const std::string& path, bool append,
                                                    Communicator& communicator);
  // After step `step`: parameters and states as they are now, on every rank.
  Status Add(int64_t step, const Network& network);

 private:
  DigestWriter(std::string path, Communicator& communicator)
      : path_(std::move(path)), communicator_(communicator) {}

  std::string path_;
  Communicator& communicator_;
  std::ofstream file_;
  std::vector<uint64_t> mine_, all_;
};

// Where two digests first differ, in the steps that both have. A rank that one of the runs did not
// have is compared with its first: in a run, all ranks hold the same weights. Errors: a file that
// cannot be read, that is no digest, or two that have no step in common.
struct DigestComparison {
  std::string difference{};  // as one line: step, rank, tensor, both hashes; empty: none
  int64_t steps = 0;         // that were compared
  int64_t tensors = 0;       // of each
};
Result<DigestComparison> CompareDigests(const std::string& a, const std::string& b);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_DIGEST_H_
