//! Finds where the last lines of a file begin, reading it backwards in blocks.

use std::io::{self, SeekFrom};

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

const BLOCK_BYTES: u64 = 16 * 1024;

/// Leaves the file at the begin of its last `lines` lines.
pub async fn seek(file: &mut File, lines: u64) -> io::Result<()> {
    let end = file.seek(SeekFrom::End(0)).await?;
    if lines == 0 {
        return Ok(());
    }
    let mut newlines = 0;
    let mut at = end;
    while at > 0 {
        let size = BLOCK_BYTES.min(at);
        at -= size;
        file.seek(SeekFrom::Start(at)).await?;
        let mut block = vec![0; size as usize];
        file.read_exact(&mut block).await?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            let after = at + index as u64 + 1;
            // The newline that ends the file begins no line.
            if after == end {
                continue;
            }
            newlines += 1;
            if newlines == lines {
                file.seek(SeekFrom::Start(after)).await?;
                return Ok(());
            }
        }
    }
    file.seek(SeekFrom::Start(0)).await?;
    Ok(())
}
