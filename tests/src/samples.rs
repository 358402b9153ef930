//! What a process and the kernel hold while work comes and goes, and whether it grows.
//!
//! Growth is the slope of a line of least squares over the units of work done. It counts when it is more
//! than chance: when the slope is above its limit by twice its standard error.

use std::fmt;

use anyhow::{Result, ensure};

/// Points of a quantity: how much work was done, how much there was then.
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// A straight line through points.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// By how much it rises for each unit of work.
    pub slope: f64,
    /// The standard error of that.
    pub error: f64,
}

impl Quantity {
    /// One without points.
    pub const fn new(name: &'static str) -> Self {
        Self { name, points: Vec::new() }
    }

    /// Adds a point.
    pub fn push(&mut self, work: f64, amount: f64) {
        self.points.push((work, amount));
    }

    /// Only the points from this amount of work on.
    #[must_use]
    pub fn from(&self, work: f64) -> Self {
        let points = self.points.iter().copied().filter(|(done, _)| *done >= work).collect();
        Self { name: self.name, points }
    }

    /// The line of least squares; flat with fewer than three points.
    pub fn line(&self) -> Line {
        let count = self.points.iter().map(|_| 1.0).sum::<f64>();
        let mean = |of: fn(&(f64, f64)) -> f64| self.points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let spread = self.points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>();
        if self.points.len() < 3 || spread <= 0.0 {
            return Line { slope: 0.0, error: f64::INFINITY };
        }
        let both = self.points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>();
        let slope = both / spread;
        let off = |point: &(f64, f64)| (point.1 - y - slope * (point.0 - x)).powi(2);
        let rest = self.points.iter().map(off).sum::<f64>();
        Line { slope, error: (rest / (count - 2.0) / spread).sqrt() }
    }

    /// Holds it to grow by no more than this for each hundred units of work, chance aside.
    ///
    /// What is left by work grows in the second half too: one that rises once, as when somebody starts another
    /// program on the node, does not grow.
    pub fn flat(&self, limit: f64) -> Result<()> {
        let (sure, later) = (self.surely(), self.second_half().surely());
        ensure!(sure.is_finite() && later.is_finite(), "too few points: {self}");
        let grows = sure > limit && later > limit;
        ensure!(!grows, "it grows by {sure:.1} or more per 100, not {limit}: {self}");
        Ok(())
    }

    /// The least growth for each hundred units of work that is not chance.
    fn surely(&self) -> f64 {
        let Line { slope, error } = self.line();
        100.0 * (slope - 2.0 * error)
    }

    fn second_half(&self) -> Self {
        let points = self.points.iter().skip(self.points.len() / 2).copied().collect();
        Self { name: self.name, points }
    }

    /// By how much it has grown between these amounts of work, as far as there are points.
    pub fn grown(&self, from: f64, to: f64) -> Option<f64> {
        let between = |(work, _): &&(f64, f64)| (from..=to).contains(work);
        let mut amounts = self.points.iter().filter(between).map(|(_, amount)| *amount);
        let first = amounts.next()?;
        Some(amounts.next_back()? - first)
    }

    /// The first and the last point.
    pub fn ends(&self) -> Option<[(f64, f64); 2]> {
        Some([*self.points.first()?, *self.points.last()?])
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { slope, error } = self.line();
        let (slope, error) = (100.0 * slope, 100.0 * error);
        write!(f, "{}: {slope:+.2} ± {error:.2} per 100", self.name)?;
        if let Some([(_, first), (_, last)]) = self.ends() {
            write!(f, ", {first:.0} first, {last:.0} last, {} points", self.points.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Ten points, one in five units of work, around a line.
    fn rising(slope: f64, noise: usize) -> Quantity {
        let (mut quantity, mut random) = (Quantity::new("it"), Random(7));
        for work in (0..50_u32).step_by(5).map(f64::from) {
            let noise = f64::from(u32::try_from(random.below(noise + 1)).unwrap());
            quantity.push(work, 20.0 + slope * work + noise);
        }
        quantity
    }

    #[test]
    fn a_leak_of_one_for_each_is_seen() {
        assert!(rising(1.0, 8).flat(10.0).is_err());
        assert!(rising(0.2, 0).flat(10.0).is_err());
    }

    #[test]
    fn what_goes_up_and_down_is_flat() {
        rising(0.0, 8).flat(10.0).unwrap();
        rising(0.0, 0).flat(0.0).unwrap();
        rising(-1.0, 3).flat(0.0).unwrap();
    }

    #[test]
    fn one_step_is_no_leak() {
        let mut quantity = Quantity::new("it");
        for work in (0..50_u32).map(f64::from) {
            quantity.push(work, if work < 20.0 { 58.0 } else { 70.0 });
        }
        quantity.flat(5.0).unwrap();
    }

    #[test]
    fn nothing_can_be_said_of_two_points() {
        let mut two = Quantity::new("it");
        two.push(0.0, 1.0);
        two.push(1.0, 1.0);
        assert!(two.flat(1e9).is_err());
    }

    #[test]
    fn the_line_of_points_on_a_line() {
        let Line { slope, error } = rising(0.5, 0).line();
        assert!((slope - 0.5).abs() < 1e-9 && error < 1e-9, "{slope} {error}");
    }
}
