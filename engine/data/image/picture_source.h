// Where pictures come from before anything is done to them: memory, or files decoded when they are
// asked for.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_SOURCE_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_SOURCE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/image/folder.h"
#include "engine/data/image/picture.h"
#include "engine/data/image/resize.h"

namespace lockstep::inline v0_1 {

struct PictureSourceInfo {
  std::string name{};             // for messages
  std::vector<int32_t> labels{};  // one per picture, below `classes`, or kIgnoredTarget
  int64_t classes = 0;
  std::vector<std::string> class_names{};       // `classes` of them, or none
  int64_t height = 0, width = 0, channels = 0;  // of every picture; 0: they differ
  uint64_t content = 0;                         // a hash of all pixels and labels; 0: not known
};

// Thread-safety: any number of threads may read.
class PictureSource {
 public:
  virtual ~PictureSource() = default;
  PictureSource(const PictureSource&) = delete;
  PictureSource& operator=(const PictureSource&) = delete;

  const PictureSourceInfo& info() const { return info_; }
  int64_t size() const { return static_cast<int64_t>(info_.labels.size()); }

  // Picture `index`, in [0, size()): in the source's own memory, which lives as long as it does, or
  // decoded into `scratch`. No extent is 0. An error names the file.
  virtual Result<PictureView> Read(int64_t index, Picture& scratch) const = 0;

 protected:
  explicit PictureSource(PictureSourceInfo info) : info_(std::move(info)) {}

 private:
  PictureSourceInfo info_;
};

// Pictures in memory: x u8 (H, W, C) with one class each. Its ByteScale is not used. Error: samples
// of another kind.
Result<std::shared_ptr<const PictureSource>> MemoryPictures(
    std::shared_ptr<const InMemoryDataset> dataset);

// What happens to pictures that cannot be read.
enum class BadPictures {
  kError,
  kSkip,  // they are left out, named and counted
};

struct FilePicturesOptions {
  std::string name{};   // for messages
  int64_t classes = 0;  // 0: the largest label + 1
  std::vector<std::string> class_names{};
  BadPictures bad = BadPictures::kError;
  int threads = 1;                           // that check the files
  int64_t cache_bytes = int64_t{256} << 20;  // of decoded pictures that are kept
};

struct FilePictures {
  std::shared_ptr<const PictureSource> source;  // without those that cannot be read
  std::vector<Status> bad{};                    // one for each that was left out, in order
  std::vector<int64_t> kept{};                  // which of the files remain, in order
};

// Reads a file; called by several threads at once. An error names the path.
using PictureReader = std::function<Result<Picture>(const std::string& path)>;

// Decodes every file once, to find those that cannot be read before a run begins; decoded pictures
// stay in memory up to cache_bytes, first come first kept (every epoch wants each picture once, so
// none is worth more than another). Errors: with kError, any bad file: the first few are named, all
// are counted; no files, or none that is good; a label out of range.
Result<FilePictures> OpenPictures(std::vector<PictureFile> files, PictureReader reader,
                                  FilePicturesOptions options);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_SOURCE_H_
