//! Prompts and music: files looked up by name, decoded once, kept in both codecs, shared by all legs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::wire::Codec;
use crate::wire::g711::{CLOCK_HZ, FRAME_LEN};
use crate::wire::wav::{self, WavError};

/// So many prompts are kept in memory; further ones are read each time they are played.
const PROMPT_COUNT_MAX: usize = 1_024;
/// The largest file read, in octets.
const FILE_LEN_MAX: u64 = 64 * 1_024 * 1_024;
/// The class that is every file directly in the music directory.
pub const DEFAULT_MUSIC: &str = "default";

/// Why a prompt or a music class cannot be played. Names the file.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The name is not one: letters, digits, `-`, `_` and inner `/`.
    #[error("`{0}` is not a name of a prompt or music class")]
    Name(String),
    /// The file or directory is not there or cannot be read.
    #[error("could not read {what} `{name}` at {}", path.display())]
    Read {
        /// `prompt` or `music`.
        what: &'static str,
        /// As asked for.
        name: String,
        /// Where it should be.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than 64 MiB.
    #[error("{} is larger than 64 MiB", .0.display())]
    TooLarge(PathBuf),
    /// The file is not a WAV file we play.
    #[error("could not play {}: {reason}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: WavError,
    },
    /// The class has a directory without any WAV file, or only empty ones.
    #[error("there is no music in {}", .0.display())]
    NoMusic(PathBuf),
}

/// One piece of audio in both codecs, in whole packets of 20 ms, the last filled with silence.
#[derive(Debug)]
pub struct Clip {
    sample_count: usize,
    pcmu: Box<[u8]>,
    pcma: Box<[u8]>,
}

impl Clip {
    /// Encodes 8 kHz samples.
    pub fn new(samples: &[i16]) -> Self {
        let encode = |codec: Codec| {
            let mut codes: Vec<u8> = samples.iter().map(|sample| codec.encode(*sample)).collect();
            codes.resize(samples.len().next_multiple_of(FRAME_LEN), codec.silence());
            codes.into_boxed_slice()
        };
        Self { sample_count: samples.len(), pcmu: encode(Codec::Pcmu), pcma: encode(Codec::Pcma) }
    }

    /// One packet's payload; `None` past the end.
    pub fn frame(&self, codec: Codec, index: usize) -> Option<&[u8]> {
        let codes = match codec {
            Codec::Pcmu => &self.pcmu,
            Codec::Pcma => &self.pcma,
        };
        codes.get(index * FRAME_LEN..(index + 1) * FRAME_LEN)
    }

    /// How many packets it has.
    pub fn frame_count(&self) -> usize {
        self.pcmu.len() / FRAME_LEN
    }

    /// How long it is, in ms, without the silence at its end.
    pub fn length_ms(&self) -> u64 {
        self.sample_count as u64 * 1_000 / u64::from(CLOCK_HZ)
    }
}

/// All audio that can be played, by name. Files are read when first asked for.
#[derive(Debug)]
pub struct Library {
    prompt_dir: PathBuf,
    music_dir: PathBuf,
    prompts: Mutex<BTreeMap<String, Arc<Clip>>>,
    music: Mutex<BTreeMap<String, Arc<[Arc<Clip>]>>>,
}

impl Library {
    /// A library over two directories; nothing is read yet.
    pub fn open(prompt_dir: &Path, music_dir: &Path) -> Self {
        Self {
            prompt_dir: prompt_dir.to_owned(),
            music_dir: music_dir.to_owned(),
            prompts: Mutex::default(),
            music: Mutex::default(),
        }
    }

    /// The prompt `name`: the file `name.wav` in the prompt directory.
    ///
    /// # Errors
    /// When the name is malformed, or the file is missing or not playable.
    pub fn prompt(&self, name: &str) -> Result<Arc<Clip>, LibraryError> {
        if let Some(clip) = self.prompts.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Arc::clone(clip));
        }
        let path = self.prompt_dir.join(file_name(name)?);
        let clip = Arc::new(read("prompt", name, &path)?);
        let mut prompts = self.prompts.lock().unwrap_or_else(PoisonError::into_inner);
        if prompts.len() < PROMPT_COUNT_MAX {
            prompts.insert(name.to_owned(), Arc::clone(&clip));
        }
        Ok(clip)
    }

    /// The music class `class`, in the order of its file names: `default` is every WAV file of the music directory; another
    /// class is the subdirectory of that name, or else the one file `class.wav`.
    ///
    /// # Errors
    /// When the name is malformed, there is no such class, or a file is not playable.
    pub fn music(&self, class: &str) -> Result<Arc<[Arc<Clip>]>, LibraryError> {
        if let Some(clips) = self.music.lock().unwrap_or_else(PoisonError::into_inner).get(class) {
            return Ok(Arc::clone(clips));
        }
        let file = self.music_dir.join(file_name(class)?);
        let directory = match class {
            DEFAULT_MUSIC => self.music_dir.clone(),
            _ => self.music_dir.join(class),
        };
        let paths = if directory.is_dir() { wav_files(class, &directory)? } else { vec![file] };
        let mut clips = Vec::new();
        for path in paths {
            let clip = read("music", class, &path)?;
            if clip.frame_count() > 0 {
                clips.push(Arc::new(clip));
            }
        }
        if clips.is_empty() {
            return Err(LibraryError::NoMusic(directory));
        }
        let clips: Arc<[Arc<Clip>]> = clips.into();
        let mut music = self.music.lock().unwrap_or_else(PoisonError::into_inner);
        music.insert(class.to_owned(), Arc::clone(&clips));
        Ok(clips)
    }
}

/// `name.wav`, when the name cannot lead out of its directory.
fn file_name(name: &str) -> Result<String, LibraryError> {
    let part_ok = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() <= 200 && name.split('/').all(part_ok) {
        Ok(format!("{name}.wav"))
    } else {
        Err(LibraryError::Name(name.chars().take(80).collect()))
    }
}

fn wav_files(class: &str, directory: &Path) -> Result<Vec<PathBuf>, LibraryError> {
    let fail = |source| LibraryError::Read {
        what: "music",
        name: class.to_owned(),
        path: directory.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|extension| extension == "wav") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(what: &'static str, name: &str, path: &Path) -> Result<Clip, LibraryError> {
    let fail = |source| LibraryError::Read { what, name: name.to_owned(), path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(fail)?.len() > FILE_LEN_MAX {
        return Err(LibraryError::TooLarge(path.to_owned()));
    }
    let file = std::fs::read(path).map_err(fail)?;
    let samples =
        wav::samples(&file).map_err(|reason| LibraryError::Format { path: path.to_owned(), reason })?;
    Ok(Clip::new(&samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library() -> (tempfile::TempDir, Library) {
        let directory = tempfile::tempdir().unwrap();
        let prompts = directory.path().join("prompts");
        let music = directory.path().join("music");
        std::fs::create_dir_all(prompts.join("digits")).unwrap();
        std::fs::create_dir_all(music.join("calm")).unwrap();
        std::fs::create_dir_all(music.join("silent")).unwrap();
        for (path, sample_count) in [
            (prompts.join("hello.wav"), 400),
            (prompts.join("digits/1.wav"), 160),
            (music.join("b.wav"), 320),
            (music.join("a.wav"), 160),
            (music.join("calm/only.wav"), 480),
        ] {
            std::fs::write(path, wav::file_of(&vec![1_000; sample_count])).unwrap();
        }
        std::fs::write(prompts.join("text.wav"), "not audio").unwrap();
        let library = Library::open(&prompts, &music);
        (directory, library)
    }

    #[test]
    fn a_clip_has_whole_packets_and_its_true_length() {
        for (sample_count, frame_count, length_ms) in [(0, 0, 0), (1, 1, 0), (160, 1, 20), (400, 3, 50)] {
            let clip = Clip::new(&vec![1_000; sample_count]);
            assert_eq!((clip.frame_count(), clip.length_ms()), (frame_count, length_ms), "{sample_count}");
        }
        let clip = Clip::new(&[1_000; 161]);
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let last = clip.frame(codec, 1).unwrap();
            assert_eq!(last[0], codec.encode(1_000));
            assert!(last[1..].iter().all(|code| *code == codec.silence()));
            assert_eq!(clip.frame(codec, 2), None);
        }
    }

    #[test]
    fn prompts_are_found_by_name_and_kept() {
        let (directory, library) = library();
        assert_eq!(library.prompt("hello").unwrap().length_ms(), 50);
        assert_eq!(library.prompt("digits/1").unwrap().length_ms(), 20);
        std::fs::remove_file(directory.path().join("prompts/hello.wav")).unwrap();
        assert_eq!(library.prompt("hello").unwrap().length_ms(), 50);
    }

    #[test]
    fn a_missing_or_bad_file_is_named() {
        let (directory, library) = library();
        for (name, expected) in [
            ("absent", "could not read prompt `absent` at DIR/prompts/absent.wav"),
            ("text", "could not play DIR/prompts/text.wav: not a WAV file"),
            ("../music/a", "`../music/a` is not a name of a prompt or music class"),
            ("/etc/passwd", "`/etc/passwd` is not a name of a prompt or music class"),
            ("", "`` is not a name of a prompt or music class"),
        ] {
            let error = library.prompt(name).unwrap_err().to_string();
            assert_eq!(error.replace(directory.path().to_str().unwrap(), "DIR"), expected);
        }
        let silent = library.music("silent").unwrap_err().to_string();
        assert!(silent.starts_with("there is no music in ") && silent.ends_with("music/silent"));
        assert!(library.music("absent").unwrap_err().to_string().ends_with("music/absent.wav"));
    }

    #[test]
    fn a_music_class_is_the_directory_a_subdirectory_or_one_file() {
        let (_directory, library) = library();
        for (class, lengths) in [("default", vec![20, 40]), ("calm", vec![60]), ("b", vec![40])] {
            let got: Vec<u64> = library.music(class).unwrap().iter().map(|clip| clip.length_ms()).collect();
            assert_eq!(got, lengths, "{class}");
        }
    }
}
