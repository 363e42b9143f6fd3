#include "lib/checkpoint/checkpoint.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <system_error>

#include "lib/checkpoint/safetensors.h"
#include "lib/checkpoint/shards.h"
#include "lib/checkpoint/tensor_names.h"
#include "lib/checkpoint/weight_reader.h"
#include "lib/support/digest.h"
#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr size_t kDigestPieceBytes = 1 << 20;

struct Located {
  const SafetensorsEntry* entry;
  size_t file;
};

// Where messages place a tensor: "directory/model.safetensors#/tensor".
std::string place(const SafetensorsFile& file, std::string_view tensor) {
  return fmt::format("{}#/{}", file.file().name(), printable(tensor));
}

// Tensors that the forward pass does not need and that older exports carry.
bool is_ignorable(std::string_view name, const ModelConfig& config) {
  return name.ends_with(".rotary_emb.inv_freq") ||
         (config.tie_word_embeddings && name == kHeadName);
}

}  // namespace

struct Checkpoint::State {
  void open_single(const std::filesystem::path& path);
  void open_shards(const std::filesystem::path& index_path);
  void sort_tensors();
  const Located* find(std::string_view name) const;
  const Located& at(std::string_view name) const;
  void check_tensor(const TensorSpec& spec) const;
  std::string compute_digest() const;

  std::filesystem::path directory;
  std::string config_text;
  ModelConfig config;
  std::vector<SafetensorsFile> files;
  std::vector<Located> tensors;  // sorted by name

  std::mutex digest_mutex;
  std::string digest;  // empty until it is asked for
};

void Checkpoint::State::open_single(const std::filesystem::path& path) {
  files.emplace_back(path);
  for (const SafetensorsEntry& entry : files[0].entries()) {
    tensors.push_back({&entry, 0});
  }
}

void Checkpoint::State::open_shards(const std::filesystem::path& index_path) {
  const WeightMap map = read_shard_index(index_path);
  std::set<std::string_view> names;
  for (const auto& [tensor, file] : map) names.insert(file);
  files.reserve(names.size());
  for (const std::string_view name : names) {
    files.emplace_back(directory / name);
    const SafetensorsFile& file = files.back();
    for (const SafetensorsEntry& entry : file.entries()) {
      const auto mapped = map.find(entry.name);
      if (mapped == map.end() || mapped->second != name) {
        throw InputError(
            place(file, entry.name),
            fmt::format("expected only tensors that {} places here, found one "
                        "that it places {}",
                        kIndexFile,
                        mapped == map.end() ? "nowhere" : mapped->second));
      }
      tensors.push_back({&entry, files.size() - 1});
    }
  }
  for (const auto& [tensor, name] : map) {
    const auto shard = std::distance(names.begin(), names.find(name));
    const SafetensorsFile& file = files[static_cast<size_t>(shard)];
    if (file.find(tensor) == nullptr) {
      throw InputError(
          place(file, tensor),
          fmt::format("expected the tensor that {} places here, found none",
                      kIndexFile));
    }
  }
}

void Checkpoint::State::sort_tensors() {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return a.entry->name < b.entry->name;
  });
}

const Located* Checkpoint::State::find(std::string_view name) const {
  const auto found =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const Located& tensor, std::string_view wanted) {
                         return tensor.entry->name < wanted;
                       });
  return found != tensors.end() && found->entry->name == name ? &*found
                                                              : nullptr;
}

const Located& Checkpoint::State::at(std::string_view name) const {
  if (const Located* tensor = find(name)) return *tensor;
  throw InputError(
      printable(directory.string(), 4096),
      fmt::format("expected tensor {}, found none", printable(name, 256)));
}

void Checkpoint::State::check_tensor(const TensorSpec& spec) const {
  const Located* tensor = find(spec.name);
  if (tensor == nullptr) {
    throw InputError(printable(directory.string(), 4096),
                     fmt::format("expected tensor {} of shape {}, found none",
                                 spec.name, format_shape(spec.shape)));
  }
  const SafetensorsFile& file = files[tensor->file];
  if (tensor->entry->shape != spec.shape) {
    throw InputError(
        place(file, spec.name),
        fmt::format("expected shape {}, found {}", format_shape(spec.shape),
                    format_shape(tensor->entry->shape)));
  }
  if (!is_weight_type(tensor->entry->type)) {
    throw InputError(place(file, spec.name),
                     fmt::format("expected type F32, F16 or BF16, found {}",
                                 data_type_name(tensor->entry->type)));
  }
}

std::string Checkpoint::State::compute_digest() const {
  Sha256 hash;
  const auto add_text = [&hash](std::string_view text) {
    hash.update(
        fmt::format("{}:", text.size()));  // so that fields cannot merge
    hash.update(text);
  };
  add_text(config_text);
  std::vector<std::byte> piece(kDigestPieceBytes);
  for (const Located& tensor : tensors) {
    const SafetensorsEntry& entry = *tensor.entry;
    add_text(entry.name);
    add_text(data_type_name(entry.type));
    add_text(format_shape(entry.shape));
    const InputFile& file = files[tensor.file].file();
    for (uint64_t done = 0; done < entry.size;) {
      const auto bytes = std::span(piece).first(
          std::min<uint64_t>(piece.size(), entry.size - done));
      file.read(entry.offset + done, bytes);
      hash.update(bytes);
      done += bytes.size();
    }
  }
  for (const SafetensorsFile& file : files) file.file().check_unchanged();
  return hash.hex();
}

Checkpoint::Checkpoint(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Checkpoint Checkpoint::open(const std::filesystem::path& directory) {
  auto state = std::make_unique<State>();
  state->directory = directory;
  const std::string shown = printable(directory.string(), 4096);
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    throw InputError(
        shown, fmt::format("expected a checkpoint directory, found \"{}\"",
                           error ? error.message() : "a file"));
  }
  const std::filesystem::path config_path = directory / "config.json";
  state->config_text = read_config_text(config_path);
  state->config = parse_config(state->config_text, config_path.string());
  // A single file comes before an index, as in transformers.
  if (std::filesystem::exists(directory / kSingleFile, error)) {
    state->open_single(directory / kSingleFile);
  } else if (std::filesystem::exists(directory / kIndexFile, error)) {
    state->open_shards(directory / kIndexFile);
  } else {
    throw InputError(shown, fmt::format("expected {} or {}, found neither",
                                        kSingleFile, kIndexFile));
  }
  state->sort_tensors();
  Checkpoint checkpoint(std::move(state));
  checkpoint.check_complete();
  return checkpoint;
}

const std::filesystem::path& Checkpoint::directory() const {
  return state_->directory;
}

const ModelConfig& Checkpoint::config() const { return state_->config; }

bool Checkpoint::has(std::string_view name) const {
  return state_->find(name) != nullptr;
}

TensorInfo Checkpoint::info(std::string_view name) const {
  const Located& tensor = state_->at(name);
  return {tensor.entry->name, tensor.entry->type, tensor.entry->shape,
          state_->files[tensor.file].file().path().filename().string()};
}

std::vector<TensorInfo> Checkpoint::tensors() const {
  std::vector<TensorInfo> out;
  out.reserve(state_->tensors.size());
  for (const Located& tensor : state_->tensors) {
    out.push_back(info(tensor.entry->name));
  }
  return out;
}

void Checkpoint::read(std::string_view name, std::span<const int64_t> shape,
                      std::span<float> out) const {
  state_->check_tensor({std::string(name), {shape.begin(), shape.end()}});
  const Located& tensor = state_->at(name);
  const uint64_t values =
      tensor.entry->size / data_type_size(tensor.entry->type);
  WUSH_CHECK(out.size() == values, "{} values for {} of {}", out.size(), name,
             values);
  read_weights(state_->files[tensor.file], *tensor.entry, out);
}

std::string Checkpoint::digest() const {
  const std::lock_guard lock(state_->digest_mutex);
  if (state_->digest.empty()) state_->digest = state_->compute_digest();
  return state_->digest;
}

void Checkpoint::check_complete() const {
  const ModelConfig& model = config();
  std::set<std::string> expected;
  const auto check = [&](const std::vector<TensorSpec>& specs) {
    for (const TensorSpec& spec : specs) {
      state_->check_tensor(spec);
      expected.insert(spec.name);
    }
  };
  check(outer_tensors(model));
  for (int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
    check(block_tensors(model, layer));
  }
  for (const Located& tensor : state_->tensors) {
    const std::string& name = tensor.entry->name;
    if (expected.contains(name) || is_ignorable(name, model)) continue;
    throw InputError(
        place(state_->files[tensor.file], name),
        fmt::format("expected only tensors of a {} of {} layers, found another",
                    model.model_type, model.num_hidden_layers));
  }
}

}  // namespace wush
